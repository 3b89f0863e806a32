"""Runs a repository's workflows on this machine, from their YAML, with an API and real programs."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.actions.checks import call_inputs, check, dispatch_inputs
from tests.support.actions.containers import Image
from tests.support.actions.control import Control, Groups
from tests.support.actions.expressions import Scope, evaluate
from tests.support.actions.graph import Graph
from tests.support.actions.loading import Workflow, load_workflow
from tests.support.actions.permissions import DEFAULT, Permissions
from tests.support.actions.records import RunResult
from tests.support.actions.server import serving_api
from tests.support.actions.settings import Hook, Origin, Settings, Shared, StandIn, StepInfo
from tests.support.actions.standins import STANDINS
from tests.support.actions.state import RunState, State
from tests.support.actions.values import Value, WorkflowError, to_text


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a run needs to be run again."""

    shared: Shared
    workflow: Workflow
    inputs: Mapping[str, Value]


class Harness:
    """A repository on GitHub, as far as its workflows can tell.

    `actions` are other repositories by `OWNER/NAME`, at any reference. `env` is of every machine. A minute of `timeout-minutes`
    takes `minute` seconds; a step that is stopped gets SIGINT, SIGTERM and SIGKILL with `grace` seconds between (the runner's are
    7.5 and 2.5). `images` are those that jobs may run in. Hooks are called in the thread of the job; `cancel` and `kill` may be called in them. The API answers
    while a run goes, and for as long as the harness is used as a context manager.
    """

    def __init__(
        self,
        repo: Path,
        home: Path,
        *,
        repository: str = "acme/hub",
        actions: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002
        standins: Mapping[str, StandIn] | None = None,
        ref: str = "refs/heads/main",
        sha: str = "",
        actor: str = "octocat",
        runners: int = 20,
        minute: float = 60.0,
        grace: tuple[float, float] = (1.0, 0.5),
        python: str = sys.executable,
        server_url: str = "https://github.com",
        default_permissions: Permissions = DEFAULT,
        images: Mapping[str, Image] | None = None,
        before_step: Hook | None = None,
        after_step: Callable[[str, StepInfo, str], None] | None = None,
        on_line: Callable[[str, StepInfo, str], None] | None = None,
    ) -> None:
        self.state = State(repository, repo, server_url)
        sha = sha or hashlib.sha1(repository.encode()).hexdigest()
        self.settings = Settings(
            repo=Origin(repository, repo, ref),
            home=home,
            state=self.state,
            actions=dict(actions or {}),
            standins={**STANDINS, **(standins or {})},
            env=dict(env or {}),
            variables=dict(vars or {}),
            sha=sha,
            ref=ref,
            actor=actor,
            runners=runners,
            minute=minute,
            grace=grace,
            python=python,
            default_permissions=default_permissions,
            images=dict(images or {}),
            before_step=before_step,
            after_step=after_step,
            on_line=on_line,
        )
        self._groups, self._lock, self._kept = Groups(), threading.RLock(), dict[int, _Kept]()
        self._users, self._server = 0, contextlib.ExitStack()
        self._current: list[Shared] = []

    def __enter__(self) -> Harness:
        with self._lock:
            if self._users == 0:
                self._server.enter_context(serving_api(self.state))
            self._users += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._server.close()

    def run(
        self,
        path: str,
        event: str = "workflow_dispatch",
        *,
        inputs: Mapping[str, Any] | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Run a workflow; raise WorkflowError where GitHub would refuse to begin. With `workflow_call`, a called one without its caller."""
        workflow = load_workflow(self.settings.repo.folder / path, path)
        if event not in workflow.triggers:
            raise WorkflowError(f"{path} has no trigger `{event}`")
        types, payload = workflow.triggers[event].get("types"), dict(payload or {})
        if types and "action" in payload and payload["action"] not in types:
            raise WorkflowError(f"{path} is not triggered by `{event}` of type {payload['action']}")
        typed: Mapping[str, Value] = {}
        if event == "workflow_dispatch":
            typed, payload["inputs"] = dispatch_inputs(workflow, inputs or {})
            payload.setdefault("ref", self.settings.ref)
            payload.setdefault("workflow", path)
        elif event == "workflow_call":
            typed = call_inputs(workflow, inputs or {})
        elif inputs:
            raise WorkflowError(f"`{event}` has no inputs")
        payload.setdefault("repository", {"full_name": self.settings.repo.name, "name": self.settings.repo.name.split("/")[1]})
        check(workflow, self.settings.repo, self.settings)
        number = self.state.new_id()
        self.settings.home.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"run-{number}-", dir=self.settings.home))
        with self.state.lock:
            count = len(self.state.runs) + 1
            run = self.state.runs[number] = RunState(number, count, self.settings.sha, workflow.name, folder)
        pull = payload.get("pull_request") or {}
        heads = [((pull.get(side) or {}).get("repo") or {}).get("full_name") for side in ("head", "base")]
        fork = event == "pull_request" and bool(pull) and (heads[0] != (heads[1] or self.settings.repo.name))
        shared = self._shared(run, event, payload, workflow, fork=fork)
        return self._attempt(_Kept(shared, workflow, typed))

    def rerun_failed(self, run: RunResult) -> RunResult:
        """The next attempt of a run: the jobs that failed or were cancelled, and all that need them."""
        kept = self._kept[run.id]
        old = kept.shared
        old.run.attempt += 1
        shared = self._shared(old.run, old.event, old.payload, kept.workflow, fork=old.fork)
        shared.previous, shared.previous_results = dict(old.members), dict(old.results)
        return self._attempt(_Kept(shared, kept.workflow, kept.inputs))

    def cancel(self) -> None:
        """Cancel all that runs, as somebody who presses the button."""
        for shared in list(self._current):
            shared.control.cancel()

    def kill(self, job: str, conclusion: str = "failure") -> None:
        """Take a job's machine away: SIGKILL to what runs, and no step after it."""
        for shared in list(self._current):
            for control in list(shared.controls):
                if control.name == job:
                    control.kill(conclusion)

    def _shared(self, run: RunState, event: str, payload: Mapping[str, Any], workflow: Workflow, *, fork: bool) -> Shared:
        return Shared(
            settings=self.settings,
            run=run,
            event=event,
            payload=payload,
            workflow=workflow.path,
            workflow_name=workflow.name,
            fork=fork,
            control=Control(),
            slots=threading.Semaphore(self.settings.runners),
            groups=self._groups,
        )

    def _attempt(self, kept: _Kept) -> RunResult:
        shared, workflow, run = kept.shared, kept.workflow, kept.shared.run
        raw, run_name = workflow.raw.get("concurrency"), workflow.raw.get("run-name")
        with self:
            scope = Scope({"github": shared.github(), "inputs": kept.inputs, "vars": dict(self.settings.variables)})
            group = to_text(evaluate(raw.get("group") if isinstance(raw, dict) else raw, scope)) if raw else ""
            graph = Graph(
                shared=shared,
                workflow=workflow,
                origin=self.settings.repo,
                inputs=kept.inputs,
                allowed=None,
                control=shared.control,
                held=frozenset({group.lower()} if group else set()),
            )
            self._kept[run.id] = kept
            self._current.append(shared)
            try:
                with self._groups.turn(group, lambda: shared.control.cancelled):
                    conclusion = graph.execute()
            finally:
                self._current.remove(shared)
        return RunResult(
            id=run.id,
            number=run.number,
            attempt=run.attempt,
            name=to_text(evaluate(run_name, scope)) if run_name else workflow.name,
            conclusion="cancelled" if shared.control.cancelled else conclusion,
            jobs=dict(shared.results),
            artifacts=self.state.latest(run),
            deployments=tuple(run.deployments),
            attestations=tuple(run.attestations),
            calls=tuple(run.calls),
            requests=tuple(run.requests),
            folder=run.folder,
            concurrency=group,
            outputs=graph.outputs(),
        )

"""One job on a runner of its own: a machine that has nothing but what GitHub puts there."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.actions.containers import Container, image_of
from tests.support.actions.control import Control, end_orphans
from tests.support.actions.expressions import Scope, evaluate
from tests.support.actions.loading import Job, Workflow
from tests.support.actions.permissions import Permissions
from tests.support.actions.records import JobResult, StepResult
from tests.support.actions.settings import Origin, Shared, copy_repository
from tests.support.actions.state import JobRow, now
from tests.support.actions.steps import Frame, StepRunner
from tests.support.actions.values import Value, WorkflowError, to_text

#: Docs, Workflow syntax, jobs.<job_id>.outputs: in bytes of UTF-16, of a job.
OUTPUTS_LIMIT = 1024 * 1024
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCH = {"x86_64": "X64", "aarch64": "ARM64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A job at its place in a run: what of the run it sees."""

    job: Job
    workflow: Workflow
    origin: Origin
    name: str
    inputs: Mapping[str, Value]
    needs: Mapping[str, Value]
    matrix: Mapping[str, Value] | None
    strategy: Mapping[str, Value]
    permissions: Permissions
    concurrency: str


class JobRunner:
    """Runs one job; what is public here is for its steps."""

    def __init__(self, shared: Shared, place: Place, control: Control, row: JobRow) -> None:
        self.shared, self.place, self.control, self.row = shared, place, control, row
        self.name, self.number = place.name, shared.number()
        self.folder = shared.run.folder / f"{shared.run.attempt}-{self.number}-{place.job.id}"
        repository = shared.settings.repo.name.split("/")[1]
        self.workspace = self.folder / "work" / repository / repository
        self.temp = self.folder / "work" / "_temp"
        self.token, self.grant = shared.settings.state.token(shared.run.id, place.name, place.permissions)
        self.masks = [self.token]
        self.env: dict[str, str] = {}
        self.path: list[str] = []
        self.defaults: dict[str, Value] = {}
        self.environment = ""
        self.mark = f"github_{uuid.uuid4()}"
        self.frame = Frame(place.origin, place.inputs)
        self.container: Container | None = None
        self._base: dict[str, Value] = {}

    def contexts(self) -> dict[str, Value]:
        """What a step sees, but `steps`, `inputs` and `env`."""
        cancelled = self.control.cancelled
        status = "cancelled" if cancelled else "failure" if self.frame.failed else "success"
        return self._base | {"job": self._base["job"] | {"status": status}}

    def _prepare(self) -> None:
        shared, place, settings = self.shared, self.place, self.shared.settings
        for folder in (self.workspace, self.temp, self.folder / "home", self.folder / "tools"):
            folder.mkdir(parents=True)
        self.event_path = self.temp / "_github_workflow" / "event.json"
        self.event_path.parent.mkdir()
        self.event_path.write_text(json.dumps(dict(shared.payload)), encoding="utf-8")
        github = shared.github() | {
            "token": self.token,
            "job": place.job.id,
            "workspace": str(self.workspace),
            "event_path": str(self.event_path),
            "action": "",
            "action_path": "",
        }
        origin = place.origin
        self._base = {
            "github": github,
            "needs": dict(place.needs),
            "strategy": dict(place.strategy),
            "matrix": None if place.matrix is None else dict(place.matrix),
            "vars": dict(settings.variables),
            "secrets": {"GITHUB_TOKEN": self.token, "github_token": self.token},
            "runner": {
                "os": "Linux",
                "arch": _ARCH.get(platform.machine(), "X64"),
                "name": f"GitHub Actions {self.number}",
                "environment": "github-hosted",
                "temp": str(self.temp),
                "tool_cache": str(self.folder / "tools"),
            },
            "job": {
                "status": "success",
                "check_run_id": self.row.id,
                "workflow_ref": f"{origin.name}/{place.workflow.path}@{origin.ref}",
                "workflow_repository": origin.name,
                "workflow_file_path": place.workflow.path,
            },
        }
        early = {key: self._base[key] for key in ("github", "needs", "strategy", "matrix", "vars", "secrets")} | {"inputs": place.inputs}
        self._contain(early)
        outer = Scope({key: early[key] for key in ("github", "vars", "secrets", "inputs")})
        for raw, scope in ((place.workflow.raw.get("env"), outer), (place.job.raw.get("env"), Scope(early))):
            self.env |= {key: to_text(value) for key, value in evaluate(raw or {}, scope).items()}
        late = Scope({key: value for key, value in early.items() if key != "secrets"} | {"env": self.env})
        for raw in (place.workflow.raw.get("defaults"), place.job.raw.get("defaults")):
            self.defaults |= evaluate((raw or {}).get("run") or {}, late)
        environment = place.job.raw.get("environment")
        self.environment = to_text(evaluate(environment.get("name") if isinstance(environment, dict) else environment, late))

    def _contain(self, contexts: Mapping[str, Value]) -> None:
        """Start the container that the job asks for; an empty image is none (docs, Workflow syntax, jobs.<job_id>.container)."""
        scope = Scope({key: value for key, value in contexts.items() if key != "secrets"})
        raw = evaluate(self.place.job.raw.get("container"), scope)
        name = to_text(raw.get("image") if isinstance(raw, dict) else raw)
        if not name:
            return
        seen = {self.folder / "work": "/__w", self.folder / "tools": "/__t"}
        seen |= {self.folder / "home": "/github/home", self.event_path.parent: "/github/workflow"}
        self.container = Container(image_of(self.shared.settings.images, name), self.folder, seen)
        self._base["job"] |= {"container": {"id": self.container.id, "network": "github_network"}}

    def provide(self, origin: Origin) -> Path:
        """The copy of a repository that this job has; those that run in no container share one, and the environments that nox makes there."""
        if self.container is None:
            return self.shared.provide(origin)
        target = self.folder / "work/_actions" / origin.name / origin.ref.replace("/", "-")
        if not target.exists():
            copy_repository(origin.folder, target)
        return target

    def process_env(self, step: Mapping[str, str]) -> dict[str, str]:
        """The environment of a step's program: what the machine has, what the workflow says, what nobody overrides."""
        settings, github = self.shared.settings, self._base["github"]
        runner = self._base["runner"]
        machine = {"PATH": PATH, "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "CI": "true", "ImageOS": "ubuntu24"}
        machine |= {"ImageVersion": "20261101.1.0"}
        if self.container:  # has what its image says, and what the runner hands to each of its programs
            machine = {"PATH": self.container.path, "HOME": machine["HOME"], "CI": "true"}
        machine |= dict(settings.env) | self.env | dict(step)
        if self.path:
            machine["PATH"] = ":".join([*self.path, machine["PATH"]])
        fixed = {f"GITHUB_{key.upper()}": to_text(value) for key, value in github.items() if key not in _UNSET and value != ""}
        fixed |= {"GITHUB_ACTIONS": "true", "RUNNER_TRACKING_ID": self.mark, "RUNNER_WORKSPACE": str(self.workspace.parent)}
        fixed |= {f"RUNNER_{key.upper()}": str(value) for key, value in runner.items()}
        return machine | {key: value for key, value in fixed.items() if key not in settings.env}

    def run(self) -> JobResult:
        """Run it to its end."""
        self.row.started, self.row.status = now(), "in_progress"
        steps: list[StepResult] = []
        complaints: list[str] = []
        outputs: dict[str, str] = {}
        conclusion, url = "failure", ""
        try:
            self._prepare()
            for number, raw in enumerate(self.place.job.steps, 1):
                steps.append(StepRunner(self, self.frame, raw, number).run())
                if self.control.killed:
                    break
            conclusion = "failure" if self.frame.failed else "cancelled" if self.control.cancelled else "success"
            if self.control.killed:
                conclusion = self.control.killed
                complaints.append("The runner has received a shutdown signal, or was lost.")
            else:
                outputs = self._outputs(complaints)
                url = self._url()
        except WorkflowError as error:
            complaints.append(str(error))
            conclusion = "failure"
        finally:
            end_orphans(self.mark)
            if self.container:
                self.container.remove()
            # A token ends with its job: who carries it off has nothing.
            self.shared.settings.state.tokens.pop(self.token, None)
        return self._result(conclusion, steps, complaints, outputs, url)

    def _late(self) -> Scope:
        return Scope(StepRunner(self, self.frame, {}, 0).scope().contexts)

    def _outputs(self, complaints: list[str]) -> dict[str, str]:
        outputs = {key: to_text(value) for key, value in evaluate(self.place.job.raw.get("outputs") or {}, self._late()).items()}
        for key in [key for key, value in outputs.items() if any(mask in value for mask in self.masks)]:
            complaints.append(f"Skip output '{key}' since it may contain secret.")
            del outputs[key]
        size = sum(len(f"{key}{value}".encode("utf-16-le", errors="surrogatepass")) for key, value in outputs.items())
        if size > OUTPUTS_LIMIT:
            raise WorkflowError(f"The outputs of job {self.place.job.id} are {size} bytes of UTF-16; at most {OUTPUTS_LIMIT} are allowed")
        return outputs

    def _url(self) -> str:
        environment: Any = self.place.job.raw.get("environment")
        return to_text(evaluate(environment.get("url"), self._late())) if isinstance(environment, dict) else ""

    def _result(self, conclusion: str, steps: list[StepResult], complaints: list[str], outputs: dict[str, str], url: str) -> JobResult:
        place, self.row.ended = self.place, now()
        return JobResult(
            id=place.job.id,
            name=self.name,
            conclusion=conclusion,
            attempt=self.shared.run.attempt,
            number=self.number,
            outputs=outputs,
            steps=tuple(steps),
            matrix=place.matrix,
            permissions=dict(place.permissions),
            used=frozenset(self.grant.used),
            environment=self.environment,
            url=url,
            runs_on=self.row.labels,
            concurrency=place.concurrency,
            timeout_minutes=place.job.raw.get("timeout-minutes"),
            complaints=tuple(complaints),
            folder=self.folder,
            started=self.row.started,
            ended=self.row.ended,
        )


_UNSET = {"token", "event", "action", "action_path", "repositoryUrl"}

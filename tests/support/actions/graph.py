"""The jobs of a workflow: who waits for whom, who runs at all, and what the workflows that they call do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.actions.checks import call_inputs, called, effective
from tests.support.actions.control import Control
from tests.support.actions.expressions import Scope, condition, evaluate
from tests.support.actions.job import JobRunner, Place
from tests.support.actions.loading import Job, Workflow
from tests.support.actions.matrix import expand, label
from tests.support.actions.permissions import Permissions, of_fork
from tests.support.actions.records import JobResult
from tests.support.actions.settings import Member, Origin, Shared
from tests.support.actions.state import JobRow, now
from tests.support.actions.values import Value, WorkflowError, to_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job id ended, all of its members together; `touched` if any of it ran in this attempt."""

    result: str
    outputs: Mapping[str, str]
    touched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """One member of a job, before it runs."""

    job: Job
    name: str
    scope: Scope
    matrix: Mapping[str, Value] | None
    strategy: Mapping[str, Value]
    permissions: Permissions
    control: Control


@dataclass(slots=True, kw_only=True)
class Graph:
    """A workflow at its place in a run. `held` are the concurrency groups that are taken above it."""

    shared: Shared
    workflow: Workflow
    origin: Origin
    inputs: Mapping[str, Value]
    allowed: Permissions | None
    control: Control
    prefix: str = ""
    held: frozenset[str] = frozenset()
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    done: dict[str, threading.Event] = field(default_factory=dict)

    def execute(self) -> str:
        """Run all jobs; the conclusion."""
        self.done = {name: threading.Event() for name in self.workflow.jobs}
        threads = [threading.Thread(target=self._job, args=(job,), name=job.id) for job in self.workflow.jobs.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return conclude([outcome.result for outcome in self.outcomes.values()])

    def outputs(self) -> dict[str, str]:
        """What a called workflow gives back."""
        jobs = {name: {"result": one.result, "outputs": dict(one.outputs)} for name, one in self.outcomes.items()}
        scope = Scope(self._early({}) | {"jobs": jobs})
        specs = self.workflow.triggers.get("workflow_call", {}).get("outputs") or {}
        return {name: to_text(evaluate(spec["value"], scope)) for name, spec in specs.items()}

    def _early(self, needs: Mapping[str, Value]) -> dict[str, Value]:
        return {
            "github": self.shared.github(),
            "vars": dict(self.shared.settings.variables),
            "inputs": dict(self.inputs),
            "needs": dict(needs),
        }

    def _job(self, job: Job) -> None:
        for name in job.needs:
            self.done[name].wait()
        key, name = (self.prefix, job.id), self.prefix + to_text(job.raw.get("name") or job.id)
        try:
            self.outcomes[job.id] = self._decide(job)
        except WorkflowError as error:
            self._record(job, name, "failure", str(error))
            self.shared.members[key] = [Member(name, "failure", {})]
            self.outcomes[job.id] = Outcome("failure", {}, touched=True)
        except BaseException:
            self.outcomes[job.id] = Outcome("failure", {}, touched=True)
            self._record(job, name, "failure", "the harness broke")
            raise
        finally:
            self.done[job.id].set()

    def _decide(self, job: Job) -> Outcome:
        before = [self.outcomes[name] for name in self.workflow.ancestors(job.id)]
        key, touched = (self.prefix, job.id), any(outcome.touched for outcome in before)
        old = [] if touched else self.shared.previous.get(key, [])
        if old and all(member.result in ("success", "skipped") for member in old):
            for member in old:
                self._reuse(member)
            self.shared.members[key] = old
            return _together(old, touched=False)
        needs = {name: {"result": self.outcomes[name].result, "outputs": dict(self.outcomes[name].outputs)} for name in job.needs}
        early, cancelled = self._early(needs), self.control.cancelled
        status = {
            "success": lambda: not cancelled and all(outcome.result == "success" for outcome in before),
            "failure": lambda: not cancelled and any(outcome.result == "failure" for outcome in before),
            "cancelled": lambda: cancelled,
            "always": lambda: True,
        }
        if not condition(job.raw.get("if"), Scope(early, status)):
            raw = to_text(job.raw.get("name") or job.id)
            name = self.prefix + (raw if "strategy" in job.raw else to_text(evaluate(raw, Scope(early | {"matrix": None, "strategy": {}}))))
            self._record(job, name, "skipped")
            self.shared.members[key] = [Member(name, "skipped", {})]
            return Outcome("skipped", {}, touched=True)
        members = self._members(job, early, {member.name: member for member in old}, cancelled)
        self.shared.members[key] = members
        return _together(members, touched=True)

    def _members(self, job: Job, early: Mapping[str, Value], old: Mapping[str, Member], cancelled: bool) -> list[Member]:
        strategy = evaluate(job.raw.get("strategy") or {}, Scope(early))
        combined: list[dict[str, Value] | None] = [*expand(strategy["matrix"])] if "matrix" in strategy else [None]
        parallel, fast = int(strategy.get("max-parallel") or len(combined)), strategy.get("fail-fast", True) is not False
        permissions = effective(job, self.workflow, self.allowed, self.shared.settings.default_permissions)
        family = Control(self.control)
        seats = []
        for at, matrix in enumerate(combined):
            about = {"fail-fast": fast, "job-index": at, "job-total": len(combined), "max-parallel": parallel}
            scope = Scope({**early, "matrix": matrix, "strategy": about})
            raw = to_text(job.raw.get("name") or job.id)
            name = self.prefix + to_text(evaluate(raw, scope))
            if matrix is not None and "${{" not in raw:
                name += f" ({label(matrix)})"
            control = Control(family, name)
            seats.append(_Seat(job=job, name=name, scope=scope, matrix=matrix, strategy=about, permissions=permissions, control=control))
        with self.shared.lock:
            self.shared.controls += [seat.control for seat in seats]
        if self.control.cancelled and not cancelled:
            family.cancel()
        members: list[Member] = []
        free = threading.Semaphore(parallel)

        def work(seat: _Seat) -> None:
            with free:
                kept = old.get(seat.name)
                if kept and kept.result in ("success", "skipped"):
                    self._reuse(kept)
                    members.append(kept)
                    return
                member = Member(seat.name, "failure", {})
                try:
                    member = self._call(seat) if job.uses else self._run(seat)
                except WorkflowError as error:
                    self._record(job, seat.name, "failure", str(error))
                finally:
                    members.append(member)
                    if member.result == "failure" and fast and len(seats) > 1:
                        family.cancel()

        threads = [threading.Thread(target=work, args=(seat,), name=seat.name) for seat in seats]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return members

    def _group(self, raw: Value, scope: Scope) -> str:
        group = to_text(evaluate(raw.get("group") if isinstance(raw, dict) else raw, scope)) if raw else ""
        if group and group.lower() in self.held:
            raise WorkflowError(f"Canceling since a deadlock was detected for concurrency group: '{group}'")
        return group

    @contextlib.contextmanager
    def _turn(self, seat: _Seat, group: str) -> Iterator[bool]:
        """The turn of a job in its group, and a runner for it; False where it was cancelled before."""
        control, slots = seat.control, self.shared.slots
        with self.shared.groups.turn(group, lambda: control.cancelled) as came:
            got = False
            while came and not control.cancelled and not (got := slots.acquire(timeout=0.05)):
                pass
            try:
                yield got and not control.cancelled
            finally:
                if got:
                    slots.release()

    def _run(self, seat: _Seat) -> Member:
        job, shared, settings = seat.job, self.shared, self.shared.settings
        group = self._group(job.raw.get("concurrency"), seat.scope)
        tolerant = evaluate(job.raw.get("continue-on-error", False), seat.scope) is True
        labels = evaluate(job.raw["runs-on"], seat.scope)
        minutes = evaluate(job.raw.get("timeout-minutes"), seat.scope)
        place = Place(
            job=job,
            workflow=self.workflow,
            origin=self.origin,
            name=seat.name,
            inputs=self.inputs,
            needs=seat.scope.contexts["needs"],
            matrix=seat.matrix,
            strategy=seat.strategy,
            permissions=of_fork(seat.permissions) if shared.fork else seat.permissions,
            concurrency=group,
        )
        row = JobRow(settings.state.new_id(), seat.name, shared.run.attempt, labels if isinstance(labels, list) else [to_text(labels)])
        with settings.state.lock:
            shared.run.jobs.append(row)
        with self._turn(seat, group) as came:
            if came:
                runner = JobRunner(shared, place, seat.control, row)
                timer = threading.Timer(float(minutes or 360) * settings.minute, seat.control.cancel)
                timer.daemon = True
                timer.start()
                try:
                    result = runner.run()
                finally:
                    timer.cancel()
                shared.keep(result)
                row.status, row.conclusion = "completed", result.conclusion
                return Member(seat.name, "success" if tolerant and result.conclusion == "failure" else result.conclusion, result.outputs)
        self._record(job, seat.name, "cancelled", row=row)
        return Member(seat.name, "cancelled", {})

    def _call(self, seat: _Seat) -> Member:
        job = seat.job
        workflow, origin = called(job.uses, self.origin, self.shared.settings)
        inputs = call_inputs(workflow, evaluate(job.raw.get("with") or {}, seat.scope))
        groups = [self._group(raw, seat.scope) for raw in (job.raw.get("concurrency"),)]
        inner = Scope({"github": self.shared.github(), "inputs": inputs, "vars": dict(self.shared.settings.variables)})
        groups.append(self._group(workflow.raw.get("concurrency"), inner))
        taken = list(dict.fromkeys(group for group in groups if group))
        graph = Graph(
            shared=self.shared,
            workflow=workflow,
            origin=origin,
            inputs=inputs,
            allowed=seat.permissions,
            control=seat.control,
            prefix=f"{seat.name} / ",
            held=self.held | {group.lower() for group in taken},
        )
        with contextlib.ExitStack() as stack:
            came = [stack.enter_context(self.shared.groups.turn(group, lambda: seat.control.cancelled)) for group in taken]
            if not all(came):
                self._record(job, seat.name, "cancelled")
                return Member(seat.name, "cancelled", {})
            result = graph.execute()
        return Member(seat.name, result, graph.outputs())

    def _record(self, job: Job, name: str, conclusion: str, complaint: str = "", row: JobRow | None = None) -> None:
        """A job that never came to a runner."""
        state, run = self.shared.settings.state, self.shared.run
        row = row or JobRow(state.new_id(), name, run.attempt, [])
        row.status, row.conclusion, row.ended = "completed", conclusion, now()
        with state.lock:
            if row not in run.jobs:
                run.jobs.append(row)
        said = (complaint,) if complaint else ()
        self.shared.keep(JobResult(id=job.id, name=name, conclusion=conclusion, attempt=run.attempt, complaints=said, ended=row.ended))

    def _reuse(self, member: Member) -> None:
        """Take over what the attempt before made."""
        shared, state = self.shared, self.shared.settings.state
        for name, result in shared.previous_results.items():
            if name == member.name or name.startswith(f"{member.name} / "):
                shared.keep(result)
                row = JobRow(state.new_id(), name, shared.run.attempt, list(result.runs_on or []), "completed", result.conclusion)
                row.started, row.ended = result.started, result.ended
                with state.lock:
                    shared.run.jobs.append(row)
        for key, members in shared.previous.items():
            if key[0].startswith(f"{member.name} / "):
                shared.members[key] = members


def conclude(results: list[str]) -> str:
    """One conclusion of many."""
    for worst in ("failure", "cancelled", "success"):
        if worst in results:
            return worst
    return "skipped"


def _together(members: list[Member], *, touched: bool) -> Outcome:
    outputs: dict[str, str] = {}
    for member in members:
        outputs |= {name: value for name, value in member.outputs.items() if value != "" or name not in outputs}
    return Outcome(conclude([member.result for member in members]), outputs, touched)

"""Planning a run: what is to be built, by how many workers, in which order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachelib.model.catalog import Catalog
from cachelib.model.config import Stack
from cachelib.model.errors import CacheError, UsageError
from cachelib.model.plan import PLAN_VERSION, Action, StackPlan
from cachelib.model.schedule import Costs, Limits
from cachelib.pipeline.building import Ready, prepare
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, build_reports, building, plan_reports, planning, reports
from cachelib.steps.reports import Report
from cachelib.steps.tags import whole_tags
from cachelib.steps.targets import choose_target, family
from cachelib.tools import actions
from cachelib.tools.files import write_atomically

#: Numbers of runners that are simulated where none is asked for: of a free account, of a Team's, of an Enterprise's.
SIMULATED = [1, 5, 20, 60, 500]


def plan(
    ws: Workspace,
    specs: Sequence[str] = (),
    stack_name: str = "",
    spack_root: str = "",
    to: str = "",
    workers: int = 0,
    out: str = "",
    *,
    rebuild: bool = False,
    simulate: bool = False,
) -> Report:
    """Say what a run would build and who would build what; write that for the workers, and for GitHub where it runs there."""
    if not 0 <= workers <= 256:
        raise UsageError(f"--workers is {workers}", hint="from 1 to 256: a matrix of GitHub has no more jobs")
    names = [stack_name] if stack_name or specs else _suited(ws)
    folder = Path(out).resolve() if out else ws.var / "plan"
    costs = Costs()
    plans: list[StackPlan] = []
    refused: list[Report] = []
    files: dict[str, bytes] = {}
    for wanted in names:
        ready = prepare(ws, specs, wanted, spack_root)
        refused.append(_refused(ready))
        if ready.lock is None:
            continue
        made = _plan(ws, ready, ready.lock, to, workers, costs, rebuild=rebuild)
        plans.append(made)
        if made.of(Action.BUILD):
            files |= {f"{ready.name}/{name}": (ready.env / name).read_bytes() for name in ("spack.yaml", "spack.lock")}
    if simulate:
        counts = [workers] if workers else SIMULATED
        return reports.join([*refused, plan_reports.simulation(plans, counts, Limits(), costs)])
    matrix = [job for made in plans for job in made.jobs()]
    body = {
        "meta": {"plan": PLAN_VERSION, "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")},
        "stacks": [made.json() for made in plans],
        "matrix": matrix,
    }
    for name, data in files.items():
        write_atomically(folder / name, data)
    # Last: who finds a plan finds all that it names.
    write_atomically(folder / "plan.json", (json.dumps(body, indent=1) + "\n").encode())
    actions.set_outputs(ws.env, {"matrix": json.dumps({"include": matrix}), "jobs": str(len(matrix))})
    actions.add_summary(ws.env, plan_reports.summary(plans, costs))
    return plan_reports.plan_report(plans, reports.join(refused), str(folder))


def _plan(ws: Workspace, ready: Ready, lock: building.Lock, to: str, workers: int, costs: Costs, *, rebuild: bool) -> StackPlan:
    stack = ready.stack
    location = ws.location(to).child(stack.image_name)
    repository = ws.repository(location)
    tags = whole_tags(repository)
    present = {tag.removesuffix(".spack")[-32:]: f"published in {repository.name}" for tag in tags if tag.endswith(".spack")}
    present |= {h: "in the local mirror, to be pushed" for h in ready.mirrored() if h not in present}
    if rebuild:
        present = {h: where for h, where in present.items() if h not in lock.roots}
    catalog = Catalog()
    if planning.needed(lock, present):
        try:
            catalog = artifacts.load_catalog(repository)
        except CacheError as error:
            ws.progress.say(f"WARNING: how long builds take isn't known: {error.message}")
    return planning.make_plan(
        lock, stack=ready.name, image=stack.image_name, runner=_runner(ws, stack), present=present,
        seconds=planning.known_seconds(catalog), limits=Limits(workers=workers or stack.workers), costs=costs,
    )  # fmt: skip


def _suited(ws: Workspace) -> list[str]:
    """The stacks that this machine can concretize; the others are planned on machines of their own."""
    found = []
    for name, stack in ws.settings.stacks.items():
        if stack.targets and not choose_target(stack.targets, ws.machine):
            ws.progress.say(f"stack {name} has no target for {ws.machine}, and is planned elsewhere")
        else:
            found.append(name)
    return found


def _runner(ws: Workspace, stack: Stack) -> str:
    target = choose_target(stack.targets, ws.machine) or ws.machine
    return stack.runner or ("ubuntu-24.04-arm" if family(target) in ("aarch64", "arm64") else "ubuntu-24.04")


def _refused(ready: Ready) -> Report:
    """What Spack refused, told as a build tells it."""
    told: Any = build_reports.build_report(
        building.BuildResult(outcomes={}, nodes={}, rejected=ready.rejected, mirror=str(ready.mirror.root), written=0)
    )
    return Report(lines=told.lines[:-1], exit_code=told.exit_code)

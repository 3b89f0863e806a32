"""Takes over what the workers of a plan handed on, into the local mirror."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from cachelib.model.errors import BuildError, CacheError, FormatError, UsageError
from cachelib.model.outcome import BuildOutcome, Failed, Skipped
from cachelib.model.plan import StackPlan, parse_plan
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import build_reports, building, gathering
from cachelib.steps.reports import Report, join
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.parts import PartFolder


def gather(ws: Workspace, plan: str = "", parts: str = "", stack_name: str = "") -> Report:
    """Take what all workers handed on over into the local mirror, and tell what became of each spec."""
    folder, shared = plan_folder(ws, plan), PartFolder(parts_folder(ws, parts))
    reports = []
    for made in _plans(folder):
        if made.stack != stack_name and stack_name:
            continue
        if not made.schedule.workers:
            continue
        _, lock = read_plan(folder, made.stack)
        mirror, outcomes, warnings, taken = ws.mirror(made.image), dict[str, BuildOutcome](), list[str](), 0
        before = {name.hash for name in mirror.names(lambda _: None)}
        ws.progress.start(f"gather {made.stack}", len(made.parts()))
        for part, allowed in made.parts().items():
            try:
                found = take_part(shared, part, mirror, lock, allowed)
            except CacheError as error:
                found = None
                warnings.append(f"  REFUSED  {part}: {error.message}")
            for h in allowed:
                record = found.records.get(h) if found else None
                outcomes[h] = record.outcome if record else Skipped(reason=gathering.fate(None))
            warnings += [f"  REFUSED  {warned.tag} of {part}: {warned.reason}" for warned in (found.refused if found else ())]
            taken += len(found.taken - before) if found else 0
            ws.progress.advance(part)
        ws.progress.finish()
        mirror.write_index()
        result = building.BuildResult(outcomes=outcomes, nodes=lock.nodes, rejected=(), mirror=str(mirror.root), written=taken)
        told = build_reports.build_report(result)
        reports.append(replace(told, lines=(*warnings, *told.lines), exit_code=told.exit_code or (BuildError.exit_code if warnings else 0)))
    if not reports:
        return Report(lines=("gather: the plan builds nothing",))
    return join(reports)


def take_part(
    shared: PartFolder, part: str, mirror: DiskMirror, lock: building.Lock, allowed: tuple[str, ...]
) -> gathering.Gathered | None:
    """Take a part over into the mirror, with its records and logs; nothing where it isn't there.

    Raises FormatError where it holds what no mirror holds.
    """
    source = shared.find(part)
    if source is None:
        return None
    found = gathering.gather(source, mirror, lock, frozenset(allowed))
    for h, record in found.records.items():
        log = None
        if isinstance(record.outcome, Failed):
            log = source.read_log(h, gathering.LOG_LIMIT)
            record = replace(record, outcome=replace(record.outcome, log=str(mirror.log_path(h)) if log is not None else ""))
        mirror.write_record(record, log)
    return found


def read_plan(folder: Path, stack_name: str) -> tuple[StackPlan, building.Lock]:
    """The plan of a stack (of the only one that builds something, where none is named), and its concretization."""
    plans = {plan.stack: plan for plan in _plans(folder)}
    busy = [name for name, plan in plans.items() if plan.schedule.workers]
    name = stack_name or (busy[0] if len(busy) == 1 else "")
    if name not in busy:
        raise UsageError(
            f"{folder} has nothing to build for stack {stack_name!r}" if stack_name else f"{folder} plans {len(busy)} stacks",
            hint=f"--stack names one of: {', '.join(busy)}" if busy else "the plan builds nothing",
        )
    path = folder / name / "spack.lock"
    try:
        lock = building.parse_lock(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="run `inv plan` again") from None
    if not set(plans[name].schedule.place()) <= lock.nodes.keys():
        raise FormatError(f"{path} is not the concretization of this plan", hint="run `inv plan` again")
    return plans[name], lock


def _plans(folder: Path) -> tuple[StackPlan, ...]:
    path = folder / "plan.json"
    try:
        return parse_plan(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, FormatError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="`inv plan` writes it") from None


def plan_folder(ws: Workspace, plan: str) -> Path:
    """Where a plan lies."""
    return Path(plan).resolve() if plan else ws.var / "plan"


def parts_folder(ws: Workspace, parts: str) -> Path:
    """Where workers put what they hand on."""
    return Path(parts).resolve() if parts else ws.var / "parts"

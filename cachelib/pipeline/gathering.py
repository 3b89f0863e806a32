"""Takes over what the workers of a plan handed on, into the local mirror."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachelib.model.errors import CacheError
from cachelib.model.outcome import BuildOutcome, Failed, Skipped
from cachelib.model.plan import StackPlan
from cachelib.pipeline.plans import fetch_plan, parts_folder, plan_folder, plan_meta, read_plan, read_plans
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps import build_reports, building, gathering
from cachelib.steps.reports import Report, join
from cachelib.tools.github_run import open_run
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.parts import PartFolder, Parts
from cachelib.tools.run_parts import RunParts


def gather(ws: Workspace, plan: str = "", parts: str = "", *, on_github: bool = False, digest: str = "") -> Report:
    """Take what all workers handed on over into the local mirror, and tell what became of each spec."""
    folder, local = plan_folder(ws, plan), PartFolder(parts_folder(ws, parts))
    shared: Parts = local
    if on_github:
        run = open_run(ws.env, ws.progress.say)
        fetch_plan(run, folder, local)
        shared = RunParts(local, run, listed=True)
    reports = []
    for made in read_plans(folder, digest):
        if made.schedule.workers:
            taken = gather_plan(ws, shared, *read_plan(folder, made.key, digest), since=plan_meta(folder, digest)[0])
            told = build_reports.build_report(taken.result)
            code = told.exit_code or (gathering.REFUSED if taken.warnings else 0)
            reports.append(replace(told, lines=(*taken.warnings, *told.lines), exit_code=code))
    return join(reports) if reports else Report(lines=("gather: the plan builds nothing",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was taken over of a plan, and what was refused."""

    plan: StackPlan
    result: building.BuildResult
    warnings: tuple[str, ...]
    #: The parts that were there, whatever was in them.
    parts: frozenset[str]
    #: The specs whose entries are what they claim, and are in the mirror now.
    taken: frozenset[str]


def gather_plan(ws: Workspace, shared: Parts, made: StackPlan, lock: building.Lock, *, since: str) -> Taken:
    """Take what the workers of one plan handed on; what is refused of it is told and costs nothing else.

    The plan was made `since` (RFC 3339): what says that it was built at another time than between then and now is not believed.
    """
    mirror, outcomes, warnings, there, taken = ws.mirror(made.image), dict[str, BuildOutcome](), list[str](), set[str](), set[str]()
    before = {name.hash for name in mirror.names(lambda _: None)}
    ws.progress.start(f"gather {made.stack}", len(made.parts()))
    for part, allowed in made.parts().items():
        try:
            found = take_part(shared, part, mirror, lock, allowed, since)
            there |= {part} if found is not None else set()
        except (CacheError, OSError) as error:
            found = None
            there.add(part)
            warnings.append(f"  REFUSED  {part}: {error.message if isinstance(error, CacheError) else error}")
        shared.done(part)
        for h in allowed:
            record = found.records.get(h) if found else None
            outcomes[h] = record.outcome if record else Skipped(reason=gathering.fate(None))
        warnings += [f"  REFUSED  {warned.tag} of {part}: {warned.reason}" for warned in (found.refused if found else ())]
        taken |= found.taken if found else set()
        ws.progress.advance(part)
    ws.progress.finish()
    mirror.write_index()
    result = building.BuildResult(outcomes=outcomes, nodes=lock.nodes, rejected=(), mirror=str(mirror.root), written=len(taken - before))
    return Taken(plan=made, result=result, warnings=tuple(warnings), parts=frozenset(there), taken=frozenset(taken))


def take_part(
    shared: Parts, part: str, mirror: DiskMirror, lock: building.Lock, allowed: tuple[str, ...], since: str = ""
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
        if since:
            record = gathering.made_between(record, since, now())
        if isinstance(record.outcome, Failed):
            log = source.read_log(h, gathering.LOG_LIMIT)
            record = replace(record, outcome=replace(record.outcome, log=str(mirror.log_path(h)) if log is not None else ""))
        mirror.write_record(record, log)
    return found

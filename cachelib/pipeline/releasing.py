"""The job of a run that publishes: what all workers built, what failed, and what the next run need not find out again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cachelib.model.digest import Digest
from cachelib.model.outcome import Failed, Skipped
from cachelib.model.plan import Action, StackPlan
from cachelib.model.spec import Node
from cachelib.pipeline.gathering import Taken, gather_plan
from cachelib.pipeline.plans import fetch_plan, parts_folder, plan_folder, read_plan, read_plans, remembered_keys, verified_files
from cachelib.pipeline.publishing import index, push
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import build_reports, building, failure_reports, gathering, remembering, reports
from cachelib.steps.reports import Report
from cachelib.tools import actions
from cachelib.tools.files import write_atomically
from cachelib.tools.github_run import open_run
from cachelib.tools.parts import PartFolder, Parts
from cachelib.tools.run_parts import RunParts

#: An attestation takes so many subjects (actions/attest), and a run attests so many times.
SUBJECTS, ATTESTATIONS = 1024, 4


def publish(
    ws: Workspace, to: str = "", plan: str = "", parts: str = "", *, on_github: bool = False, digest: str = "", jobs: int = JOBS
) -> Report:
    """Gather what the workers of a plan built, push it, remember what failed, and bring the indexes up to it."""
    check_jobs(jobs)
    folder, local = plan_folder(ws, plan), PartFolder(parts_folder(ws, parts))
    shared: Parts = local
    if on_github:
        run = open_run(ws.env, ws.progress.say)
        fetch_plan(run, folder, local)
        shared = RunParts(local, run, listed=True)
    plans = read_plans(folder, digest)
    taken = [gather_plan(ws, shared, *read_plan(folder, made.key, digest)) for made in plans if made.schedule.workers]
    told = [Report(lines=(*one.warnings, *build_reports.build_report(one.result).lines)) for one in taken]
    pushed = Report(lines=("push: nothing was built",))
    if any(ws.mirror(image).names() for image in ws.images()):
        pushed = reports.attempt(partial(push, ws, to, jobs=jobs))
    failing = [reports.attempt(partial(_remember_failures, ws, to, one)) for one in taken]
    known = [reports.attempt(partial(_remember_lock, ws, to, folder, made, digest)) for made in plans]
    indexed = index(ws, to, jobs=jobs)
    new = [item for data in pushed.data if data["step"] == "push" for item in data["items"] if item["outcome"] == "pushed"]
    subjects = _write_subjects(ws.var / "subjects", new)
    again = bool(new) and (any(made.of(Action.LEFT_OVER) for made in plans) or any(_unfinished(one) for one in taken))
    actions.set_outputs(ws.env, {"pushed": str(len(new)), "again": str(again).lower()} | subjects)
    done = reports.join([*told, pushed, *failing, *known, indexed])
    # That builds failed is what their own jobs say. What was refused, or could not be published, is said here.
    refused = any(one.warnings for one in taken)
    later = reports.join([pushed, *failing, *known, indexed])
    return Report(lines=done.lines, data=done.data, exit_code=later.exit_code or (gathering.REFUSED if refused else 0))


def _unfinished(one: Taken) -> bool:
    """Whether something was not tried, though nothing that it needs failed: another run may get to it."""
    doomed = {h for h, outcome in one.result.outcomes.items() if isinstance(outcome, Failed)}
    for node in building.Lock(nodes=one.result.nodes).buildable():  # dependencies first
        if any(edge.hash in doomed for edge in node.dependencies):
            doomed.add(node.hash)
    return any(isinstance(outcome, Skipped) and h not in doomed for h, outcome in one.result.outcomes.items())


def _remember_failures(ws: Workspace, to: str, one: Taken) -> Report:
    """Remember what failed, with its log, and tell it where people look."""
    repository, mirror = ws.repository(ws.location(to).child(one.plan.image)), ws.mirror(one.plan.image)
    scheduled = one.plan.schedule.place()
    records = [record for h in scheduled if (record := mirror.record(h)) is not None]
    nodes, outcomes = one.result.nodes, one.result.outcomes
    published = {tag.removesuffix(".spack")[-32:] for tag in repository.tags() if tag.endswith(".spack")}
    failing = remembering.remember_failures(
        repository, records, lambda h: mirror.read_log(h, gathering.LOG_LIMIT), lambda h: _spec(nodes, h), published
    )
    here = [failing[h] for h in scheduled if h in failing]
    actions.annotate(ws.env, "error", failure_reports.most_telling(here, outcomes))
    actions.add_summary(ws.env, failure_reports.summary(here, outcomes, nodes))
    return Report(lines=tuple(failure_reports.lines(here)))


def _remember_lock(ws: Workspace, to: str, folder: Path, made: StackPlan, digest: str) -> Report:
    key = remembered_keys(folder, digest).get(made.key)
    if not key:
        return Report(lines=())
    prefix = f"{made.key}/"
    files = {name.removeprefix(prefix): data for name, data in verified_files(folder, digest).items() if name.startswith(prefix)}
    repository = ws.repository(ws.location(to).child(made.image))
    remembering.remember_locks(repository, {key: files})
    return Report(lines=(f"the concretization of stack {made.stack} is remembered in {repository.name}",))


def _spec(nodes: Mapping[str, Node], h: str) -> bytes:
    """The spec file of a node, as `spack install --file` takes it: itself first, then all that it needs."""
    wanted, waiting = dict[str, Node](), [h]
    while waiting:
        at = waiting.pop(0)
        if at not in wanted:
            wanted[at] = nodes[at]
            waiting += [edge.hash for edge in nodes[at].dependencies]
    body = {"spec": {"_meta": {"version": 5}, "nodes": [{**node.raw, "hash": node.hash} for node in wanted.values()]}}
    return json.dumps(body, indent=1).encode()


def _write_subjects(folder: Path, new: list[dict[str, str]]) -> dict[str, str]:
    """Write what is to be attested as files of checksums, one an attestation; return them as outputs."""
    lines = [f"{Digest.parse(item['digest']).hex}  {item['reference'].partition('@')[0].rpartition(':')[0]}" for item in new]
    groups = [lines[at : at + SUBJECTS] for at in range(0, len(lines), SUBJECTS)][:ATTESTATIONS]
    found = {}
    for number, group in enumerate(groups, 1):
        path = folder / f"{number}.txt"
        write_atomically(path, "".join(f"{line}\n" for line in group).encode())
        found[f"subjects_{number}"] = str(path)
    return found

"""The job of a run that publishes: what all workers built, what failed, and what the next run need not find out again."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, CatalogError, UsageError
from cachelib.model.oci import parse_json
from cachelib.model.outcome import Built, Failed, Skipped
from cachelib.model.plan import Action, StackPlan
from cachelib.model.record import Origin
from cachelib.model.spec import Node
from cachelib.model.wanted import parse_wanted
from cachelib.pipeline.containers import container
from cachelib.pipeline.gathering import Taken, gather_plan
from cachelib.pipeline.planning import read_inputs
from cachelib.pipeline.plans import (
    WANTED_FILE,
    fetch_plan,
    parts_folder,
    plan_folder,
    plan_meta,
    read_plan,
    read_plans,
    remembered_keys,
    verified_files,
)
from cachelib.pipeline.publishing import index, push
from cachelib.pipeline.sboms import sbom
from cachelib.pipeline.tagging import tag
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs, now
from cachelib.steps import build_reports, building, failure_reports, gathering, remembering, reports
from cachelib.steps.reports import Report
from cachelib.steps.targets import is_beyond
from cachelib.tools import actions
from cachelib.tools.files import write_atomically
from cachelib.tools.github_run import GitHubRun, open_run
from cachelib.tools.parts import PartFolder, Parts
from cachelib.tools.run_parts import RunParts

#: An attestation takes so many subjects (actions/attest), and a run attests so many times.
SUBJECTS, ATTESTATIONS = 1024, 4
T = TypeVar("T")


def publish(
    ws: Workspace, to: str = "", plan: str = "", parts: str = "", *, on_github: bool = False, digest: str = "", jobs: int = JOBS
) -> Report:
    """Gather what the workers of a plan built, push it, remember what failed, and bring the indexes up to it.

    What workers hand on is hostile: whatever one stack's does to one step, the other steps and stacks go on.
    """
    check_jobs(jobs)
    folder, local = plan_folder(ws, plan), PartFolder(parts_folder(ws, parts))
    shared: Parts = local
    run = open_run(ws.env, ws.progress.say) if on_github else None
    if run is not None:
        fetch_plan(run, folder, local)
        shared = RunParts(local, run, listed=True)
    plans = read_plans(folder, digest)
    release = _Release(ws=ws, to=to, folder=folder, digest=digest, shared=shared, run=run, jobs=jobs)
    for made in plans:
        release.plan(made)
    rest = [image for image in ws.images() if image not in {made.image for made in plans} and ws.mirror(image).names()]
    if rest:
        release.reports.append(reports.attempt(partial(push, ws, to, jobs=jobs, images=rest)))
    release.reports.append(index(ws, to, jobs=jobs))
    if ws.settings.sbom:
        release.step(lambda: sbom(ws, to=to, attach=True, look=False, jobs=jobs))
    if ws.settings.containers:
        release.step(lambda: _made_of_builds("container", partial(container, ws, to=to, jobs=jobs)))
    if ws.settings.tags:
        release.step(lambda: _made_of_builds("tag", partial(tag, ws, to=to, jobs=jobs)))
    done = reports.join(release.reports)
    new = [item for data in done.data if data["step"] == "push" for item in data["items"] if item["outcome"] == "pushed"]
    subjects = _write_subjects(ws.var / "subjects", new)
    left = release.unfinished or plan_meta(folder, digest)[1] or any(made.of(Action.LEFT_OVER) for made in plans)
    asked = read_inputs(ws)
    # The same once more would pick other packages, or build anew what it just built: such runs would follow each other without end.
    goes_on = bool(new) and left and not asked.random and not asked.rebuild
    beside = {"provenance": "true"} if ws.settings.provenance else {}
    actions.set_outputs(ws.env, {"pushed": str(len(new)), "again": str(goes_on).lower()} | beside | subjects)
    return done


@dataclass(kw_only=True)
class _Release:
    """What is published of a run, plan by plan, and what is to be told of it."""

    ws: Workspace
    to: str
    folder: Path
    digest: str
    shared: Parts
    run: GitHubRun | None
    jobs: int
    reports: list[Report] = field(default_factory=list)
    unfinished: bool = False

    def plan(self, made: StackPlan) -> None:
        """Publish what was built of a plan, and remember the rest."""
        taken = self._attempt(lambda: self._take(made)) if made.schedule.workers else None
        if self.ws.mirror(made.image).names():
            anew = made.rebuild & taken.taken if taken is not None else frozenset()
            anew = frozenset(h for h in anew if taken is not None and isinstance(taken.result.outcomes[h], Built))
            self.step(lambda: push(self.ws, self.to, jobs=self.jobs, images=[made.image], anew=anew))
        else:
            self.reports.append(Report(lines=(f"push: nothing of stack {made.stack} was built",)))
        if taken is not None:
            self.unfinished |= _unfinished(taken)
            self.step(lambda: _remember_failures(self.ws, self.to, taken))
        self.step(lambda: _remember_requests(self.ws, self.to, self.folder, made, self.digest))

    def _take(self, made: StackPlan) -> Taken:
        taken = gather_plan(
            self.ws, self.shared, *read_plan(self.folder, made.key, self.digest), since=plan_meta(self.folder, self.digest)[0]
        )
        # That builds failed is what their own jobs say. What was refused, or could not be published, is said here.
        lines = (*taken.warnings, *build_reports.build_report(taken.result).lines)
        self.reports.append(Report(lines=lines, exit_code=gathering.REFUSED if taken.warnings else 0))
        run = self.run
        return taken if run is None else self._attempt(lambda: _blame(self.ws, run, taken)) or taken

    def step(self, step: Callable[[], Report]) -> None:
        """Take a step, and keep its report."""
        report = self._attempt(step)
        self.reports += [report] if report is not None else []

    def _attempt(self, step: Callable[[], T]) -> T | None:
        """What a step gives; where it fails, in whatever way, that is told at the end, and nothing else is lost."""
        try:
            return step()
        except CacheError as error:
            self.reports.append(reports.error_report(error))
        except OSError as error:
            self.reports.append(reports.error_report(CacheError(str(error), hint="is the disk full, or a folder not yours?")))
        except Exception as error:
            self.ws.progress.say(traceback.format_exc())
            told = CacheError(f"what was not foreseen: {error!r}", hint="please report it, with the lines above")
            self.reports.append(reports.error_report(told))
        return None


def _made_of_builds(what: str, step: Callable[[], Report]) -> Report:
    """Make what cache.yaml names of builds; what needs one that is not there (yet) is told, and is no fault of this job."""
    try:
        done = step()
    except CatalogError as error:
        return Report(lines=(f"{what}: {error.message}",))
    waiting = all(data["exitCode"] == UsageError.exit_code for data in done.data if data["step"] == "error")
    return replace(done, exit_code=0) if waiting else done


def _unfinished(one: Taken) -> bool:
    """Whether something was not tried, though nothing that it needs failed: another run may get to it."""
    doomed = {h for h, outcome in one.result.outcomes.items() if isinstance(outcome, Failed)}
    for node in building.Lock(nodes=one.result.nodes).buildable():  # dependencies first
        if any(edge.hash in doomed for edge in node.dependencies):
            doomed.add(node.hash)
    left = (outcome for h, outcome in one.result.outcomes.items() if h not in doomed)
    # What no CPU of the run could build, the next run would find no better one for: that waits for the next plan.
    return any(isinstance(outcome, Skipped) and not is_beyond(outcome.reason) for outcome in left)


def _blame(ws: Workspace, run: GitHubRun, taken: Taken) -> Taken:
    """The same, where jobs broke down at a build: what was built then is said to have failed, or the next run would do the same."""
    broken = {job.name.rpartition(" / ")[2] for job in run.jobs() if job.broke_down}
    failed = gathering.broke_down(taken.plan, taken.parts, broken)
    mirror = ws.mirror(taken.plan.image)
    for h, outcome in failed.items():
        mirror.write_record(building.make_record(taken.result.nodes[h], outcome, {}, Origin(stack=taken.plan.stack, created=now())), None)
    return replace(taken, result=replace(taken.result, outcomes={**taken.result.outcomes, **failed}))


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


def _remember_requests(ws: Workspace, to: str, folder: Path, made: StackPlan, digest: str) -> Report:
    """Remember the concretization of a stack, and what it wants, where the plan says that either is new."""
    prefix = f"{made.key}/"
    files = {name.removeprefix(prefix): data for name, data in verified_files(folder, digest).items() if name.startswith(prefix)}
    repository = ws.repository(ws.location(to).child(made.image))
    lines = []
    wanted = files.pop(WANTED_FILE, None)
    if wanted is not None and remembering.remember_wanted(repository, [parse_wanted(parse_json(wanted, "what the stack wants"))]):
        lines.append(f"what stack {made.stack} wants is remembered in {repository.name}")
    if key := remembered_keys(folder, digest).get(made.key):
        remembering.remember_locks(repository, {key: files})
        lines.append(f"the concretization of stack {made.stack} is remembered in {repository.name}")
    return Report(lines=tuple(lines))


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

"""One worker of a plan: builds its slots in order, waits for what others build, and hands on what it built."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from cachelib.model.errors import CacheError, RegistryError, UsageError
from cachelib.model.oci import RegistryLocation
from cachelib.model.outcome import BuildOutcome, Built, Failed, Reused, Skipped
from cachelib.model.plan import StackPlan
from cachelib.model.record import Record
from cachelib.model.stack import Stack
from cachelib.model.upstream import upstream_mirrors
from cachelib.pipeline.building import install_watched, origin_of
from cachelib.pipeline.gathering import take_part
from cachelib.pipeline.installing import prepare_spack
from cachelib.pipeline.plans import fetch_plan, parts_folder, plan_folder, read_plan
from cachelib.pipeline.repositories import with_repos
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import build_reports, building, gathering, layering, licensing
from cachelib.steps.reports import Report, join
from cachelib.steps.targets import beyond
from cachelib.tools import actions
from cachelib.tools.files import read_end, write_atomically
from cachelib.tools.github_run import open_run
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.parts import PartFolder, Parts
from cachelib.tools.run_parts import INTERVAL, RunParts
from cachelib.tools.spack import Spack

#: With less of it free than this (bytes) no build begins: what it would leave is half a build and a full disk.
_LEAST_DISK = 2 * 10**9
#: Seconds after which a worker says again what it waits for.
_TELL = 300.0
#: Minutes that the workflow gives a job that builds, and how many of them are left to hand on what was built when time is over.
JOB_MINUTES, _HAND_ON = 355, 20
#: Seconds in which nothing is built that is worth the start.
_TOO_SHORT = 10.0


def work(
    ws: Workspace,
    worker: int,
    plan: str = "",
    parts: str = "",
    key: str = "",
    spack_root: str = "",
    wait: int = 300,
    jobs: int = 0,
    packages: int = 0,
    *,
    slot: int = 0,
    on_github: bool = False,
    digest: str = "",
    minutes: float = 0.0,
) -> Report:
    """Build what the plan has for a worker (counted from 1), all its slots or one of them, into a part for each slot.

    What is not done after so many `minutes` is given up (on GitHub from the job's start on, 0 being as long as a job may take).
    """
    shared = PartFolder(parts_folder(ws, parts))
    if wait < 0:
        raise UsageError(f"--wait is {wait}", hint="minutes, 0 or more")
    until = _until(ws, minutes, on_github=on_github)
    deadline = min(time.monotonic() + wait * 60, until)
    run = open_run(ws.env, ws.progress.say, until=deadline) if on_github else None
    folder = plan_folder(ws, plan)
    if run is not None:
        fetch_plan(run, folder, shared)
    made, lock = read_plan(folder, key, digest)
    if not 1 <= worker <= len(made.schedule.workers):
        raise UsageError(f"--worker is {worker}", hint=f"the plan has {len(made.schedule.workers)} workers for stack {made.stack}")
    slots = len(made.schedule.workers[worker - 1])
    if not 0 <= slot <= slots:
        raise UsageError(f"--slot is {slot}", hint=f"worker {worker} has {slots} slots; 0 is all of them")
    name, stack = with_repos(ws, made.repos).stack(made.stack)
    spack, _ = prepare_spack(ws, stack, name, spack_root)
    at_work = _Worker(
        ws=ws, plan=made, lock=lock, stack=stack, spack=spack, mirror=ws.mirror(made.image), env=_environment(ws, stack, made, folder),
        number=worker, parts=RunParts(shared, run, interval=_interval(ws)) if run else shared,
        deadline=deadline, until=until, jobs=jobs, packages=packages,
        again=ws.env.get("GITHUB_RUN_ATTEMPT", "1") != "1", alone=run is None,
    )  # fmt: skip
    return join(at_work.slot(number) for number in ([slot] if slot else range(1, slots + 1)))


def _until(ws: Workspace, minutes: float, *, on_github: bool) -> float:
    """When Spack is ended, by the monotonic clock (seconds): early enough to hand on what is built by then."""
    if minutes < 0 or math.isnan(minutes):
        raise UsageError(f"--minutes is {minutes}", hint="how long this worker may take; 0 is as long as it likes")
    minutes = minutes or (JOB_MINUTES - _HAND_ON if on_github else math.inf)
    passed = 0.0
    if on_github:
        with contextlib.suppress(OSError, ValueError, KeyError):  # the job's first step tells when it began
            passed = max(0.0, time.time() - float(Path(ws.env["RUNNER_TEMP"], "started").read_text()))
    return time.monotonic() + minutes * 60 - passed


def _interval(ws: Workspace) -> float:
    """Seconds between two looks for what others build; CACHE_INTERVAL sets another, where an API has other limits than GitHub's."""
    text = ws.env.get("CACHE_INTERVAL", "")
    if text and not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", text):
        raise UsageError(f"CACHE_INTERVAL is {text!r}", hint="seconds, up to 999")
    return float(text) if text else INTERVAL


def _environment(ws: Workspace, stack: Stack, made: StackPlan, folder: Path) -> Path:
    """The planned environment on this machine: its mirrors are this machine's."""
    text, lock = ((folder / made.key / name).read_bytes() for name in ("spack.yaml", "spack.lock"))
    data: dict[str, Any] = yaml.safe_load(text)
    mirrors = {"cache-mirror": ws.mirror(made.image).root.as_uri()}
    location = ws.location("").child(made.image)
    if isinstance(location, RegistryLocation):
        mirrors["cache-registry"] = str(location)
    mirrors |= upstream_mirrors(stack.upstreams)
    data["spack"]["mirrors"] = {n: {"url": url, "binary": True, "source": False, "signed": False} for n, url in mirrors.items()}
    env = ws.var / "work" / made.image / "env" / f"plan-{hashlib.sha256(lock).hexdigest()[:12]}"
    write_atomically(env / "spack.yaml", yaml.safe_dump(data, sort_keys=False).encode())
    write_atomically(env / "spack.lock", lock)
    return env


@dataclass(kw_only=True)
class _Worker:
    """A worker at work."""

    ws: Workspace
    plan: StackPlan
    lock: building.Lock
    stack: Stack
    spack: Spack
    mirror: DiskMirror
    parts: Parts
    env: Path
    number: int
    deadline: float
    until: float
    jobs: int
    packages: int
    #: Whether GitHub runs the job once more: what failed is then tried again.
    again: bool
    #: Whether parts lie in a folder of this machine, where an earlier run left them.
    alone: bool
    taken: dict[str, gathering.Gathered | None] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def slot(self, number: int) -> Report:
        """Build a slot, unless its part is there from an earlier run; hand on what became of it."""
        slot, name = self.plan.schedule.workers[self.number - 1][number - 1], self.plan.part(self.number, number)
        done = self._done(name, slot.builds)
        if done is not None and not (self.again and done.not_built()):
            self.ws.progress.say(f"{name} is there already")
            self.mirror.write_index()
            actions.set_outputs(self.ws.env, {"part": ""})
            return self._report({h: record.outcome for h, record in done.records.items()}, len(done.taken))
        known = {h: record for h, record in done.records.items() if h in done.taken} if done is not None else {}
        outcomes: dict[str, BuildOutcome] = {h: record.outcome for h, record in known.items()}
        left = tuple(h for h in slot.builds if h not in known)
        missing = self._wait(slot.waits)
        self.mirror.write_index()
        foreign = self._foreign(left)
        missing |= {h: one.reason for h, one in foreign.items()}
        skipped = self._late(left) or self._full(left) or foreign | gathering.lacking(left, self.lock, missing)
        outcomes |= skipped
        described: dict[str, dict[str, Any]] = {}
        if wanted := [h for h in left if h not in skipped]:
            outcomes |= self._build(wanted)
            described = self.spack.describe(self.env)
        # What came from an upstream after all stays there: whoever needs it takes it from there too.
        made = [h for h in wanted if isinstance(outcomes[h], Built | Reused) and not layering.foreign(outcomes[h])]
        withheld = licensing.restricted(described, self.stack.licenses)
        written = [h for h in building.to_mirror(self.lock, described, (), (), withheld) if h in made]
        origin = origin_of(self.ws, self.plan.stack, self.stack, self.spack)
        with self.parts.write(name) as part:
            for h in known:
                gathering.copy_entry(self.mirror, part, h)
            for h in slot.builds:
                log, outcome = None, outcomes[h]
                if isinstance(outcome, Failed) and outcome.log:
                    with contextlib.suppress(OSError):
                        log = read_end(Path(outcome.log), gathering.LOG_LIMIT)
                    outcome = replace(outcome, log="")
                part.write_record(known.get(h) or building.make_record(self.lock.nodes[h], outcome, described.get(h, {}), origin), log)
            if written:
                self.spack.buildcache_push(self.env, part.root, written, jobs=os.cpu_count() or 1, on_line=lambda _: None)
        actions.set_outputs(self.ws.env, {"part": name, "path": str(part.root.parent / name)})
        take_part(self.parts, name, self.mirror, self.lock, slot.builds)
        return self._report(outcomes, len(written))

    def _done(self, name: str, builds: tuple[str, ...]) -> gathering.Gathered | None:
        """The part of this worker's own that an earlier run handed on."""
        if not self.alone and not self.again:
            return None  # nobody can have handed it on but a package of another job
        try:
            return take_part(self.parts, name, self.mirror, self.lock, builds)
        except CacheError as error:
            self.ws.progress.say(f"WARNING: {name} of an earlier run can't be had, and is built again: {error.message}")
            return None

    def _late(self, hashes: tuple[str, ...]) -> dict[str, Skipped]:
        """Everything skipped, where there is no time left to build it in."""
        return {h: Skipped(reason=building.NO_TIME) for h in hashes} if self.until - time.monotonic() < _TOO_SHORT else {}

    def _full(self, hashes: tuple[str, ...]) -> dict[str, Skipped]:
        """Everything skipped, where there is no disk left to build it on."""
        free = shutil.disk_usage(self.ws.var).free
        if free >= _LEAST_DISK:
            return {}
        reason = f"only {free / 1e9:.1f} GB of the disk are free, a build takes {_LEAST_DISK / 1e9:.0f} GB"
        return {h: Skipped(reason=reason) for h in hashes}

    def _foreign(self, hashes: tuple[str, ...]) -> dict[str, Skipped]:
        """What is for a target that this machine's CPU can't run: runners differ, and a build may run what it makes."""
        targets = {h: self.lock.nodes[h].target for h in hashes}
        found = {h: reason for h, target in targets.items() if (reason := beyond(self.ws.cpu, target))}
        for reason, count in Counter(found.values()).items():
            self.ws.progress.say(f"WARNING: {count} specs of this slot are not built here: {reason}")
        return {h: Skipped(reason=reason) for h, reason in found.items()}

    def _build(self, wanted: list[str]) -> dict[str, BuildOutcome]:
        again = self.plan.rebuild.intersection(wanted)
        before = frozenset(h for h, facts in self.spack.describe(self.env).items() if facts["installed"] and h not in again)
        mirrored = frozenset(name.hash for name in self.mirror.names(lambda _: None))
        watch = install_watched(
            self.ws, self.spack, self.env, self.plan.stack, len(wanted), jobs=self.jobs, packages=self.packages, only=wanted,
            again=again, until=self.until,
        )  # fmt: skip
        described = self.spack.describe(self.env)
        for h in again - (watch.done - watch.errors.keys()):
            described[h]["installed"] = False  # what is there is what was there before, which Spack puts back where it fails
        outcomes = building.classify(self.lock, described, watch, before, mirrored)
        if self.stack.upstreams:
            outcomes = layering.name_sources(outcomes, frozenset(), dict.fromkeys(wanted, "or registry"))
        return {h: outcomes[h] for h in wanted}

    def _wait(self, hashes: tuple[str, ...]) -> dict[str, str]:
        """Wait for the parts of other workers; return what of it can't be had, and why."""
        parts, home = self.plan.parts(), {h: self.plan.part_of(h) for h in hashes}
        needed = set(home.values())
        waiting, told, since = needed - self.taken.keys(), False, time.monotonic()
        while waiting:
            for name in sorted(waiting):
                job = self.plan.job(self.plan.worker_of(name))
                try:
                    found = take_part(self.parts, name, self.mirror, self.lock, parts[name])
                    if self.again and found is not None and found.not_built() and self.parts.outdated(name, job):
                        continue
                    lost = self.parts.lost(name, job) if found is None else ""
                except RegistryError as error:
                    # GitHub can't be asked just now; the part may come all the same.
                    self.ws.progress.say(f"WARNING: {name} can't be looked for: {error.message}")
                    continue
                except CacheError as error:
                    found, lost = None, f"its part is refused: {error.message}"
                if found is not None:
                    self.taken[name] = found
                elif lost:
                    self.ws.progress.say(f"WARNING: {name} will not come: {lost}")
                    self.taken[name], self.lost[name] = None, lost
            waiting -= self.taken.keys()
            if waiting and time.monotonic() >= self.deadline:
                self.ws.progress.say(f"WARNING: {', '.join(sorted(waiting))} did not come in time; what needs it is skipped")
                self.taken |= dict.fromkeys(waiting)
                self.lost |= dict.fromkeys(waiting, "what another worker was to build did not come in time")
                break
            if waiting:
                if not told or time.monotonic() - since > _TELL:
                    self.ws.progress.say(f"waiting for {', '.join(sorted(waiting))}")
                    told, since = True, time.monotonic()
                time.sleep(self.parts.interval)
        missing = {}
        for h in hashes:
            part = self.taken.get(home[h])
            record: Record | None = part.records.get(h) if part else None
            if reason := self.lost.get(home[h]) or gathering.fate(record):
                missing[h] = reason
        return missing

    def _report(self, outcomes: Mapping[str, BuildOutcome], written: int) -> Report:
        result = building.BuildResult(outcomes=outcomes, nodes=self.lock.nodes, rejected=(), mirror=str(self.mirror.root), written=written)
        return build_reports.build_report(result)

"""Building with Spack, into the local mirror."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from cachelib.model.errors import CacheError
from cachelib.model.inputs import parse_inputs
from cachelib.model.oci import RegistryLocation
from cachelib.model.outcome import BuildOutcome, Failed, Reused
from cachelib.model.package_repo import commits_of
from cachelib.model.record import Origin
from cachelib.model.stack import Stack
from cachelib.model.upstream import holders
from cachelib.model.wanted import Wanted
from cachelib.pipeline.layers import read_upstreams
from cachelib.pipeline.preparing import Ready, prepare
from cachelib.pipeline.repositories import asking_for
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps import build_reports, building, gathering, layering, licensing, reports
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.reports import Report
from cachelib.steps.weather import wanted_of
from cachelib.tools import actions, git
from cachelib.tools.files import read_end
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.registry import RegistryRepository
from cachelib.tools.spack import Spack


def build(
    ws: Workspace,
    specs: Sequence[str] = (),
    stack_name: str = "",
    spack_root: str = "",
    jobs: int = 0,
    packages: int = 0,
    *,
    dry_run: bool = False,
    inputs: bool = False,
    repos: Sequence[str] = (),
) -> Report:
    """Build requests (the stack's own where none are given) into the mirror; go on past failures. With `inputs`, those of the workflow.

    `repos` are package repositories that come before the stack's own.
    """
    if inputs:
        asked = parse_inputs(ws.env.get("WORKFLOW_INPUTS", ""))
        specs, stack_name, repos = asked.specs, asked.stack, asked.repos
    ws, repos = asking_for(ws, repos)
    if dry_run:
        return plan_build(ws, specs, stack_name, spack_root)
    result = run_build(ws, specs, stack_name, spack_root, jobs, packages, own=not specs and not repos)
    actions.set_outputs(ws.env, {"mirror": result.mirror})
    return build_reports.build_report(result)


def plan_build(ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", spack_root: str = "") -> Report:
    """Tell what a build would do; concretizes, but builds nothing."""
    ready = prepare(ws, specs, stack_name, spack_root)
    refused = build_reports.build_report(
        building.BuildResult(outcomes={}, nodes={}, rejected=ready.rejected, mirror="", written=0, elsewhere=ready.elsewhere)
    )
    if ready.lock is None:
        return refused
    lines = building.plan_lines(ready.lock, ready.installed(), ready.mirrored())
    return Report(
        lines=(*refused.lines[:-1], *lines, f"build would go through {len(lines)} specs of stack {ready.name}; nothing was built"),
        exit_code=refused.exit_code,
    )


def run_build(
    ws: Workspace,
    specs: Sequence[str] = (),
    stack_name: str = "",
    spack_root: str = "",
    jobs: int = 0,
    packages: int = 0,
    *,
    own: bool | None = None,
) -> building.BuildResult:
    """Build, and tell what became of each spec; with `own` (where no specs are given) it is what the stack itself wants."""
    own = not specs if own is None else own
    ready = prepare(ws, specs, stack_name, spack_root)
    lock, spack, mirror = ready.lock, ready.spack, ready.mirror
    if lock is None:
        if own:
            mirror.write_wanted(_wanted(ready, building.Lock(nodes={}), {}))
        return building.BuildResult(
            outcomes={}, nodes={}, rejected=ready.rejected, mirror=str(mirror.root), written=0, elsewhere=ready.elsewhere
        )
    before, mirrored = ready.installed(), ready.mirrored()
    total = sum(node.hash not in before for node in lock.buildable())
    watch = install_watched(ws, spack, ready.env, ready.name, total, jobs=jobs, packages=packages)
    described = spack.describe(ready.env)
    outcomes = building.classify(lock, described, watch, before, mirrored)
    published = _published(ws, ready)
    elsewhere = frozenset[str]()
    if ready.stack.upstreams:
        where = holders(read_upstreams(ws, ready.stack))
        outcomes = layering.name_sources(outcomes, published, where)
        elsewhere = frozenset(h for h in lock.nodes if h in where or layering.foreign(outcomes.get(h)) or _noted(mirror, h))
    # First what happened is written down, then the mirror: whatever fails from here on, nothing that is known is lost.
    _write_records(ws, ready, lock, outcomes, described)
    if own:  # these are the stack's own requests
        mirror.write_wanted(_wanted(ready, lock, described))
    withheld = licensing.restricted(described, ready.stack.licenses)
    written, trouble = 0, ""
    try:
        written = _write_mirror(ws, ready, lock, described, published | elsewhere, withheld.keys())
    except CacheError as error:
        trouble = reports.error_text(error)
    return building.BuildResult(
        outcomes=outcomes, nodes=lock.nodes, rejected=ready.rejected, mirror=str(mirror.root), written=written, trouble=trouble,
        elsewhere=ready.elsewhere, withheld=withheld,
    )  # fmt: skip


def install_watched(
    ws: Workspace,
    spack: Spack,
    env: Path,
    name: str,
    total: int,
    *,
    jobs: int,
    packages: int,
    only: Sequence[str] = (),
    again: Set[str] = frozenset(),
    until: float = math.inf,
) -> building.InstallWatch:
    """Have Spack install an environment (`only` some hashes of it, dependencies first), say how far it is, and return what it said.

    Of those, what is in `again` is built whatever a cache or the install tree has.
    When the monotonic clock says `until` (seconds), Spack is ended; what it installed by then is kept.
    """
    watch = building.InstallWatch()
    ws.progress.start(f"build {name}", total)

    def on_line(line: str) -> None:
        known = len(watch.done)
        if said := watch.line(line, time.monotonic()):
            ws.progress.say(said)
            if len(watch.done) > known:
                ws.progress.advance(said)

    cores = os.cpu_count() or 1
    packages = packages or max(1, min(4, cores // 2))
    # What is to be built again comes alone: as a dependency of another one, Spack would fetch it.
    for alone, group in itertools.groupby(only, key=lambda h: h if h in again else "") if again else [("", only)]:
        done = spack.install(
            env,
            jobs=jobs or max(1, cores // packages),
            packages=packages,
            on_line=on_line,
            only=tuple(group),
            again=bool(alone),
            until=until,
        )
        if done.timed_out:
            watch.stopped = until
            ws.progress.say("WARNING: Spack was ended, as the time was over")
            break
    ws.progress.finish()
    return watch


def _write_records(
    ws: Workspace,
    ready: Ready,
    lock: building.Lock,
    outcomes: dict[str, BuildOutcome],
    described: Mapping[str, Mapping[str, Any]],
) -> None:
    """Leave a record of each spec in the mirror, and the log of each failure; the outcomes then name the log that is kept."""
    origin, mirror = origin_of(ws, ready.name, ready.stack, ready.spack), ready.mirror
    for h, outcome in outcomes.items():
        log = None
        if isinstance(outcome, Failed) and outcome.log:
            with contextlib.suppress(OSError):  # the report of a failure is not to fail for want of its log
                log = read_end(Path(outcome.log), gathering.LOG_LIMIT)
            outcome = outcomes[h] = replace(outcome, log=str(mirror.log_path(h)) if log is not None else "")
        # A record tells how its entry came to be; that it was reused later is no news about it.
        if not isinstance(outcome, Reused) or mirror.record(h) is None:
            mirror.write_record(building.make_record(lock.nodes[h], outcome, described.get(h, {}), origin), log)


def _wanted(ready: Ready, lock: building.Lock, described: Mapping[str, Mapping[str, Any]]) -> Wanted:
    """What the stack wants on this machine, as the weather tells of it."""
    before = next((one.runner for one in ready.mirror.wanted() if one.stack == ready.name), "")
    here = next((f"{node.platform} {node.os}" for node in lock.buildable()), before)  # Spack may refuse everything
    refused = {one.request: one.reason for one in ready.rejected}
    return wanted_of(ready.name, here, lock, restricted=licensing.restricted(described, ready.stack.licenses), refused=refused)


def _published(ws: Workspace, ready: Ready) -> frozenset[str]:
    """What our own registry has, where Spack can take it from there."""
    if isinstance(ready.location, RegistryLocation):
        try:
            tags = RegistryRepository(ready.location, None).tags()  # read as anybody: a build holds no credentials
            return frozenset(tag.removesuffix(".spack")[-32:] for tag in tags)
        except CacheError as error:
            ws.progress.say(f"WARNING: {error.message}; so nothing counts as published, and all that is built goes into the mirror")
    return frozenset()


def _noted(mirror: DiskMirror, h: str) -> bool:
    """Whether an earlier build took a spec from an upstream, whatever the upstream's index says today."""
    record = mirror.record(h)
    return record is not None and layering.foreign(record.outcome)


def _write_mirror(
    ws: Workspace,
    ready: Ready,
    lock: building.Lock,
    described: Mapping[str, Mapping[str, Any]],
    elsewhere: frozenset[str],
    withheld: Set[str],
) -> int:
    """Write what is installed, and is neither `elsewhere` nor `withheld`, into the mirror, and its index anew; return how many are new."""
    mirror = ready.mirror
    have = [entry.hash for entry in mirror.entries(lambda error: ws.progress.say(f"WARNING: {error.message}; {error.hint}"))]
    missing = building.to_mirror(lock, described, have, elsewhere, withheld)
    if missing:
        ws.progress.start("write the mirror", len(missing))
        pushed = "] Pushed "
        ready.spack.buildcache_push(
            ready.env, mirror.root, missing, jobs=os.cpu_count() or 1,
            on_line=lambda line: ws.progress.advance(line.split(pushed)[-1]) if pushed in line else None,
        )  # fmt: skip
        ws.progress.finish()
        # What a tarball holds is found out once, here, where cores are at hand: a push then only sends it.
        ws.progress.start("look into the tarballs", len(missing))
        new = (mirror.entry(name) for name in mirror.names(lambda _: None) if name.hash in missing)
        with workers(os.cpu_count() or 1) as pool:
            for entry, found in in_order(pool, lambda entry: mirror.inspect_tarball(entry.tarball), new):
                found.result()
                ws.progress.advance(entry.label)
        ws.progress.finish()
    mirror.write_index()
    return len(missing)


def origin_of(ws: Workspace, name: str, stack: Stack, spack: Spack) -> Origin:
    """Where what is built here now comes from."""
    env, source = ws.env, ws.source()
    return Origin(
        stack=name,
        spack_version=spack.version()[2],
        spack_commit=git.head(spack.root, env) or stack.spack.commit,
        packages_version=stack.packages.version,
        packages_commit=stack.packages.commit,
        repos=" ".join(commits_of(stack.repos)),
        source=source,
        revision=env.get("GITHUB_SHA", "") or git.head(ws.folder, env),
        run=f"{source}/actions/runs/{env['GITHUB_RUN_ID']}" if source and env.get("GITHUB_RUN_ID") else "",
        created=now(),
    )

"""Pruning a registry by the rules of cache.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.oci import Location
from cachelib.model.spec import check_hash
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import prune_reports, pruning, reports
from cachelib.steps.reports import Report

#: Hours for which what nothing names any more is left alone.
GRACE = 24


def prune(
    ws: Workspace,
    to: str = "",
    keep: Sequence[str] = (),
    *,
    dry_run: bool = False,
    yes: bool = False,
    grace: int = GRACE,
    jobs: int = JOBS,
) -> Report:
    """Delete what no rule keeps, from every image."""
    check_jobs(jobs)
    if grace < 0:
        raise UsageError(f"--grace is {grace}", hint="hours, 0 or more")
    if not keep and not any(stack.retention for stack in ws.settings.stacks.values()):
        raise UsageError("no stack of cache.yaml has rules, so everything is kept", hint="write `retention:` into a stack")
    locked = frozenset(_listed(Path(path)) for path in keep)
    hashes = frozenset(h for found in locked for h in found)
    return reports.join(
        reports.attempt(partial(_prune, ws, image, ws.location(to).child(image), hashes, dry_run, yes, grace, jobs))
        for image in ws.images()
    )


def _prune(
    ws: Workspace, image: str, location: Location, listed: frozenset[str], dry_run: bool, yes: bool, grace: int, jobs: int
) -> Report:
    now = datetime.now(UTC)
    repository = ws.repository(location)
    stacks = {name: stack for name, stack in ws.settings.stacks.items() if stack.image_name == image}
    locks = (path for stack in stacks.values() for pattern in stack.retention.locks for path in _found(ws.folder, pattern))
    locked = listed.union(*map(_listed, locks))
    rules = {name: stack.retention for name, stack in stacks.items()}
    run = pruning.plan(repository, rules, locked, now=now, jobs=jobs, progress=ws.progress)
    if dry_run:
        return prune_reports.prune_plan_report(run.plan, repository.name)
    pruning.check(run.plan, yes=yes)
    result = pruning.prune(
        run, repository, ws.deleter(location, repository),
        labels=ws.oci_labels(), since=now.timestamp(), grace=grace * 3600.0, jobs=jobs, progress=ws.progress,
    )  # fmt: skip
    return prune_reports.prune_report(run.plan, result, repository.name)


def _found(folder: Path, pattern: str) -> Iterable[Path]:
    """The lock files of a pattern; one that names a file which is not there is a mistake, not an empty list."""
    try:
        paths = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else sorted(Path("/").glob(pattern[1:]))
    except (ValueError, NotImplementedError, IndexError, OSError) as error:
        raise UsageError(f"{pattern!r} is no pattern of files: {error}", hint="such as production/**/spack.lock") from None
    if not paths:
        raise UsageError(f"no lock file is at {pattern!r}", hint="paths in `retention: locks` are relative to cache.yaml")
    return paths


def _listed(path: Path) -> frozenset[str]:
    """The DAG hashes that a spack.lock or a keeplist (one hash a line, as `/hash` or bare) names; none at all is a mistake."""
    try:
        text = path.read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            found = frozenset(check_hash(h, str(path)) for h in json.loads(text)["concrete_specs"])
        else:
            lines = (line.partition("#")[0].strip().removeprefix("/") for line in text.splitlines())
            found = frozenset(check_hash(line, str(path)) for line in lines if line)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, FormatError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="a spack.lock, or one DAG hash a line, is expected") from None
    if not found:
        raise UsageError(f"{path} names nothing to keep", hint="a spack.lock, or one DAG hash a line, is expected")
    return found

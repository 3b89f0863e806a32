"""Pulling a registry back into mirrors: for clusters without internet, and for what a disk has lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cachelib.model.errors import CatalogError, UsageError
from cachelib.model.oci import Location
from cachelib.model.request import Request, parse_request
from cachelib.pipeline.layers import opener, upstreams_of
from cachelib.pipeline.signing import policy_of, upstream_policy
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import borrow_reports, borrowing, indexing, pulling, registry_reports, reports, signing_reports
from cachelib.steps.reports import Report
from cachelib.tools.mirror import DiskMirror

#: What a killed pull left is swept when it is so old (seconds): another one may be writing now.
_LEFT_OVER = 3600.0


def pull(
    ws: Workspace,
    specs: Sequence[str] = (),
    to: str = "",
    out: str = "",
    image: str = "",
    *,
    closure: bool = True,
    upstreams: bool = True,
    dry_run: bool = False,
    signed: bool = False,
    jobs: int = JOBS,
) -> Report:
    """Bring mirrors up to what is published, or to a part of it.

    With `out`, what that needs of `upstreams` comes too; the local mirror takes what is built here, and nothing of upstreams.
    """
    check_jobs(jobs)
    images = [image] if image else list(ws.images())
    if image and image not in ws.images():
        raise UsageError(f"there is no image {image!r}", hint=f"cache.yaml has: {', '.join(ws.images())}")
    requests = [parse_request(text) for text in specs]
    whole = bool(out) and closure and upstreams
    step = partial(_pull, ws, requests=requests, closure=closure, whole=whole, dry_run=dry_run, signed=signed, jobs=jobs)
    return reports.join(
        reports.attempt(partial(step, name, ws.location(to).child(name), DiskMirror(_folder(ws, out, name)))) for name in images
    )


def _folder(ws: Workspace, out: str, image: str) -> Path:
    return Path(out).resolve() / image if out else ws.mirror(image).root


def _pull(
    ws: Workspace,
    image: str,
    location: Location,
    mirror: DiskMirror,
    *,
    requests: Sequence[Request],
    closure: bool,
    whole: bool,
    dry_run: bool,
    signed: bool,
    jobs: int,
) -> Report:
    repository = ws.repository(location)
    catalog, indexed = indexing.read_catalog(repository, jobs=jobs, progress=ws.progress)
    if not catalog.entries and not indexed.warnings:
        raise CatalogError(f"nothing is published in {repository.name}", hint="is it the right place? `inv push` fills it")
    with policy_of(ws, repository, required=signed) as policy, upstream_policy(ws, policy, required=signed) as abroad:
        plan = pulling.plan_pull(
            catalog, mirror, requests, closure=closure, policy=policy, upstreams=upstreams_of(ws, image) if whole else ()
        )
        if dry_run:
            return reports.join([registry_reports.pull_plan_report(plan, repository.name), *borrow_reports.plan_reports(plan.upstream)])
        mirror.sweep(before=time.time() - _LEFT_OVER)
        find = opener(ws, plan.upstream)
        lent = borrowing.borrow(plan.upstream, find, mirror, jobs=jobs, progress=ws.progress, policy=abroad)
        outcomes = pulling.pull(plan, repository, mirror, jobs=jobs, progress=ws.progress, policy=policy)
        pulling.finish(mirror, {h: outcome for h, (_, outcome) in lent.items()})
    told = [registry_reports.pull_report(plan, outcomes, indexed.warnings, repository.name, mirror.root.as_uri())]
    told += borrow_reports.borrow_reports(plan.upstream, lent)
    if policy is not None:
        told.append(signing_reports.policy_report(policy, outcomes, repository.name))
    if abroad is not None and lent:
        told.append(signing_reports.policy_report(abroad, lent, "upstreams"))
    if keys := abroad if lent else policy:
        mirror.write_keys(keys.keys)
    return reports.join(told)

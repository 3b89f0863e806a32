"""From the mirror to the registry, and its indexes."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from functools import partial

from cachelib.model.errors import MirrorError
from cachelib.model.image import BaseImage
from cachelib.model.oci import Location, parse_image
from cachelib.model.ports import Repository
from cachelib.model.record import PackageInfo
from cachelib.model.stack import Stack
from cachelib.model.upstream import holders
from cachelib.pipeline.layers import bring, upstreams_of
from cachelib.pipeline.signing import public_keys, sign_new
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import bases, indexing, licensing, pushing, registry_reports, remembering, reports, signing, signing_reports, staleness
from cachelib.steps.reports import Report
from cachelib.steps.tags import whole_tags
from cachelib.tools import actions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """How mirrors are pushed."""

    force: bool
    resigned: bool
    dry_run: bool
    with_upstream: bool
    jobs: int


def push(
    ws: Workspace,
    to: str = "",
    *,
    force: bool = False,
    resigned: bool = False,
    dry_run: bool = False,
    jobs: int = JOBS,
    images: Collection[str] = (),
    anew: Set[str] = frozenset(),
    with_upstream: bool = False,
) -> Report:
    """Push the mirrors of all images (or of some `images`) into the registry; what is published, by `force` or if it was built `anew`.

    What upstreams have stays there, unless it was built anew, or is to go along (`with_upstream`).
    """
    check_jobs(jobs)
    wanted = images or ws.images()
    found = [(image, stack) for image, (_, stack) in ws.images().items() if image in wanted and ws.mirror(image).names()]
    if not found:
        raise MirrorError(f"there is nothing to push: {ws.var / 'mirror'} holds no entries", hint="run `inv build` first")
    options = _Options(force=force, resigned=resigned, dry_run=dry_run, with_upstream=with_upstream, jobs=jobs)
    done = reports.join(
        [reports.attempt(partial(_push, ws, image, stack, ws.location(to).child(image), anew, options)) for image, stack in found]
    )
    if not dry_run:
        items = [item for data in done.data if data["step"] == "push" for item in data["items"]]
        actions.set_outputs(ws.env, {"pushed": str(sum(item["outcome"] == "pushed" for item in items))})
    return done


def index(ws: Workspace, to: str = "", *, full: bool = False, jobs: int = JOBS) -> Report:
    """Bring catalog and Spack index of every image up to its tags."""
    check_jobs(jobs)
    return reports.join([reports.attempt(partial(_index, ws, ws.location(to).child(image), full, jobs)) for image in ws.images()])


def _index(ws: Workspace, location: Location, full: bool, jobs: int) -> Report:
    repository = ws.repository(location)
    indexed = indexing.index(repository, labels=ws.oci_labels(), jobs=jobs, progress=ws.progress, full=full)
    told = registry_reports.index_report(indexed, repository.name)
    # The keys that are told of are those of the checkout; one that has none leaves those alone that another one told of.
    keys = public_keys(ws)
    if keys and remembering.remember_keys(repository, keys):
        return reports.join([told, Report(lines=(f"keys: {len(keys)} public keys published in {repository.name}",))])
    return told


def _refusal(ws: Workspace, first: Stack, package: PackageInfo, builder: str) -> str:
    """Why a package may not be given away, as the stack has it that built it, or the image's first where that isn't known."""
    return licensing.withheld(package, ws.settings.stacks.get(builder, first).licenses)


def _push(ws: Workspace, image: str, stack: Stack, location: Location, anew: Set[str], options: _Options) -> Report:
    force, jobs = options.force, options.jobs
    mirror, repository = ws.mirror(image), ws.repository(location)
    damaged: list[MirrorError] = []
    upstreams = () if options.with_upstream else upstreams_of(ws, image)
    elsewhere = holders(upstreams)
    if options.resigned:
        anew = anew | signing.resigned(mirror, repository, jobs=jobs, progress=ws.progress)
    refusal = partial(_refusal, ws, stack)
    plan = pushing.plan_push(
        mirror, whole_tags(repository), force=force, anew=anew, elsewhere=elsewhere, refusal=refusal, on_damage=damaged.append
    )  # fmt: skip
    told = [reports.error_report(error) for error in damaged]
    if options.dry_run:
        return reports.join([*told, registry_reports.push_plan_report(plan, repository.name)])
    if (signed := sign_new(ws, mirror, [item.entry for item in plan.to_send()])) is not None:
        told.append(signing_reports.signed_report(signed, str(mirror.root)))
    stale = frozenset(item.entry.tag for item in plan.to_send() if force or item.entry.tag in plan.tags)
    if stale:
        staleness.mark_stale(repository, stale, jobs=jobs)
    try:
        found = _bases(ws, stack, plan, repository)
        # Without a base no image runs by itself: there is no libc in it. So it needs no layers of upstreams either.
        brought = bring(ws, plan, upstreams, mirror, repository, refusal, jobs) if found else {}
        outcomes = pushing.push(
            plan, mirror, repository, bases=found, labels=ws.labels(), jobs=jobs, progress=ws.progress,
            elsewhere=elsewhere.keys(), brought=brought,
        )  # fmt: skip
    finally:
        if stale:
            # Once more: an index run in the middle of it read what was about to go.
            staleness.mark_stale(repository, stale, jobs=jobs)
    remembering.remember_wanted(repository, mirror.wanted())
    labels = {item.entry.hash: item.entry.label for item in plan.items}
    return reports.join([*told, registry_reports.push_report(outcomes, labels, repository.name)])


def _bases(ws: Workspace, stack: Stack, plan: pushing.PushPlan, repository: Repository) -> dict[str, BaseImage]:
    """The base image of each architecture that is pushed, with its layers copied to where they are needed."""
    if not stack.base_image:
        return {}
    place, reference = parse_image(stack.base_image, folder=ws.folder)
    source = ws.repository(place, own=False)
    found = {}
    for platform in sorted({item.platform for item in plan.to_send()}):
        found[platform] = bases.base_image(source, reference, stack.base_image.partition("://")[2] or stack.base_image, platform)
        bases.copy_base(source, repository, found[platform])
    return found

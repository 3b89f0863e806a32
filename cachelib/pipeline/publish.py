"""From the mirror to the registry, its indexes and the site; and whether what is there is right."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from cachelib.model.config import Stack
from cachelib.model.errors import CatalogError, MirrorError
from cachelib.model.image import BaseImage
from cachelib.model.oci import CATALOG_TAG, Location, RegistryLocation, parse_image
from cachelib.model.ports import Repository
from cachelib.pipeline.workspace import JOBS, PROJECT, Workspace, check_jobs
from cachelib.steps import artifacts, bases, indexing, pushing, registry_reports, rendering, reports, staleness
from cachelib.steps.reports import Report
from cachelib.tools.site import serving, write_site


def push(ws: Workspace, to: str = "", *, force: bool = False, dry_run: bool = False, jobs: int = JOBS) -> Report:
    """Push the mirrors of all images into the registry."""
    check_jobs(jobs)
    found = [(image, stack) for image, (_, stack) in ws.images().items() if ws.mirror(image).names()]
    if not found:
        raise MirrorError(f"there is nothing to push: {ws.var / 'mirror'} holds no entries", hint="run `inv build` first")
    return reports.join(
        [reports.attempt(partial(_push, ws, image, stack, ws.location(to).child(image), force, dry_run, jobs)) for image, stack in found]
    )


def index(ws: Workspace, to: str = "", *, full: bool = False, jobs: int = JOBS) -> Report:
    """Bring catalog and Spack index of every image up to its tags."""
    check_jobs(jobs)
    return reports.join([reports.attempt(partial(_index, ws, ws.location(to).child(image), full, jobs)) for image in ws.images()])


def _index(ws: Workspace, location: Location, full: bool, jobs: int) -> Report:
    repository = ws.repository(location)
    indexed = indexing.index(repository, labels=ws.oci_labels(), jobs=jobs, progress=ws.progress, full=full)
    return registry_reports.index_report(indexed, repository.name)


def render(ws: Workspace, to: str = "", out: str = "") -> Report:
    """Render website and API from the catalogs."""
    # Templates take a tenth of a second to load, and no other task needs them.
    from cachelib.tools.templates import JinjaTemplates

    images, indexed = [], []
    for image in ws.images():
        location = ws.location(to).child(image)
        repository = ws.repository(location)
        catalog = artifacts.load_catalog(repository)
        indexed.append(repository.manifest(CATALOG_TAG) is not None)
        images.append(
            rendering.SiteImage(name=image, mirror_url=_mirror_url(ws, image, location), reference=repository.name, catalog=catalog)
        )
    if not any(indexed):
        raise CatalogError(f"nothing is indexed in {ws.location(to)}", hint="is it the right place? `inv push` and `inv index` fill it")
    folder = Path(out).resolve() if out else ws.var / "site"
    count = write_site(folder, rendering.render(ws.settings.site, images, JinjaTemplates(PROJECT / "templates")))
    return Report(lines=(f"render: {count} files in {folder}",))


def serve(ws: Workspace, port: int = 8000, out: str = "") -> None:
    """Show the rendered site on this machine until interrupted."""
    with serving(Path(out).resolve() if out else ws.var / "site", port) as server, contextlib.suppress(KeyboardInterrupt):
        ws.progress.say(f"the site is at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()


def _push(ws: Workspace, image: str, stack: Stack, location: Location, force: bool, dry_run: bool, jobs: int) -> Report:
    mirror, repository = ws.mirror(image), ws.repository(location)
    damaged: list[MirrorError] = []
    plan = pushing.plan_push(mirror, repository.tags(), force=force, on_damage=damaged.append)
    told = [reports.error_report(error) for error in damaged]
    if dry_run:
        return reports.join([*told, registry_reports.push_plan_report(plan, repository.name)])
    anew = frozenset(item.entry.tag for item in plan.to_send()) if force else frozenset()
    if anew:
        staleness.mark_stale(repository, anew, jobs=jobs)
    try:
        outcomes = pushing.push(
            plan, mirror, repository, bases=_bases(ws, stack, plan, repository), labels=ws.labels(), jobs=jobs, progress=ws.progress
        )
    finally:
        if anew:
            # Once more: an index run in the middle of it read what was about to go.
            staleness.mark_stale(repository, anew, jobs=jobs)
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


def _mirror_url(ws: Workspace, image: str, location: Location) -> str:
    """What stock Spack takes as a mirror: the registry, or the local mirror where the registry is a directory."""
    return str(location) if isinstance(location, RegistryLocation) else ws.mirror(image).root.as_uri()

"""From the mirror to the registry, its indexes and the site; and whether what is there is right."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from cachelib.model.catalog import Catalog, merge
from cachelib.model.config import Stack
from cachelib.model.errors import CatalogError, FormatError, MirrorError, UsageError
from cachelib.model.image import BaseImage
from cachelib.model.oci import CATALOG_TAG, Location, RegistryLocation, parse_image
from cachelib.model.ports import Repository
from cachelib.pipeline.workspace import JOBS, MOST_JOBS, PROJECT, Workspace
from cachelib.steps import indexing, pushing, rendering, reports, verifying
from cachelib.steps.reports import Report
from cachelib.tools.site import serving, write_site
from cachelib.tools.templates import JinjaTemplates


def push(ws: Workspace, to: str = "", *, force: bool = False, dry_run: bool = False, jobs: int = JOBS) -> Report:
    """Push the mirrors of all images into the registry."""
    _check_jobs(jobs)
    found = [(image, stack) for image, (_, stack) in ws.images().items() if ws.mirror(image).entry_paths()]
    if not found:
        raise MirrorError(f"there is nothing to push: {ws.var / 'mirror'} holds no entries", hint="run `inv build` first")
    return reports.join(
        [reports.attempt(partial(_push, ws, image, stack, ws.location(to).child(image), force, dry_run, jobs)) for image, stack in found]
    )


def index(ws: Workspace, to: str = "", *, full: bool = False, jobs: int = JOBS) -> Report:
    """Bring catalog and Spack index of every image up to its tags."""
    _check_jobs(jobs)
    return reports.join([reports.attempt(partial(_index, ws, ws.location(to).child(image), full, jobs)) for image in ws.images()])


def _index(ws: Workspace, location: Location, full: bool, jobs: int) -> Report:
    repository = ws.repository(location)
    known = Catalog() if full else _known_catalog(ws, repository)
    indexed = indexing.read_tags(repository, known, jobs=jobs, progress=ws.progress)
    labels = _oci_labels(ws)
    # Spack's index first: a client that sees the new catalog's site finds everything it names.
    listed = indexing.write_spack_index(repository, indexing.spack_index(indexed.catalog), labels=labels, check=full)
    kept = indexing.write_catalog(repository, indexed.catalog, labels=labels, check=full)
    return reports.index_report(indexed.with_written(listed or kept), repository.name)


def render(ws: Workspace, to: str = "", out: str = "") -> Report:
    """Render website and API from the catalogs."""
    images, indexed = [], []
    for image in ws.images():
        location = ws.location(to).child(image)
        repository = ws.repository(location)
        catalog = indexing.load_catalog(repository)
        indexed.append(repository.manifest(CATALOG_TAG) is not None)
        images.append(
            rendering.SiteImage(name=image, mirror_url=_mirror_url(ws, image, location), reference=repository.name, catalog=catalog)
        )
    if not any(indexed):
        raise CatalogError(f"nothing is indexed in {ws.location(to)}", hint="is it the right place? `inv push` and `inv index` fill it")
    folder = Path(out).resolve() if out else ws.var / "site"
    count = write_site(folder, rendering.render(ws.settings.site, images, JinjaTemplates(PROJECT / "templates")))
    return Report(lines=(f"render: {count} files in {folder}",))


def verify(ws: Workspace, to: str = "", *, jobs: int = JOBS) -> Report:
    """Check everything the registry holds against everything else."""
    _check_jobs(jobs)
    return reports.join([reports.attempt(partial(_verify, ws, ws.location(to).child(image), jobs)) for image in ws.images()])


def _verify(ws: Workspace, location: Location, jobs: int) -> Report:
    repository = ws.repository(location)
    return reports.verify_report(verifying.verify(repository, jobs=jobs, progress=ws.progress), repository.name)


def serve(ws: Workspace, port: int = 8000, out: str = "") -> None:
    """Show the rendered site on this machine until interrupted."""
    with serving(Path(out).resolve() if out else ws.var / "site", port) as server, contextlib.suppress(KeyboardInterrupt):
        ws.progress.say(f"the site is at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()


def _check_jobs(jobs: int) -> None:
    if not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"--jobs is {jobs}", hint=f"from 1 to {MOST_JOBS} requests can be under way at once")


def _push(ws: Workspace, image: str, stack: Stack, location: Location, force: bool, dry_run: bool, jobs: int) -> Report:
    mirror, repository = ws.mirror(image), ws.repository(location)
    damaged: list[MirrorError] = []
    entries = list(mirror.entries(damaged.append))
    records = ((entry.hash, mirror.record(entry.hash)) for entry in entries)
    forbidden = frozenset(h for h, record in records if record is not None and not record.package.redistributable)
    plan = pushing.plan_push(entries, repository.tags(), force=force, forbidden=forbidden)
    told = [Report(lines=tuple(reports.error_text(error).splitlines()), exit_code=error.exit_code) for error in damaged]
    if dry_run:
        return reports.join([*told, reports.plan_report(plan, repository.name)])
    catalog = _known_catalog(ws, repository)
    if force and catalog.entries:
        # What is sent anew may get another manifest; the next index run reads it again.
        catalog = merge(catalog, frozenset(item.tag for item in plan.to_send()), ())
        indexing.write_catalog(repository, catalog, labels=_oci_labels(ws))
    outcomes = pushing.push(
        plan,
        mirror,
        repository,
        catalog=catalog,
        bases=_bases(ws, stack, plan, repository),
        labels=ws.labels(),
        jobs=jobs,
        progress=ws.progress,
    )
    labels = {item.entry.hash: item.entry.label for item in plan.items}
    return reports.join([*told, reports.push_report(outcomes, labels, repository.name)])


def _bases(ws: Workspace, stack: Stack, plan: pushing.PushPlan, repository: Repository) -> dict[str, BaseImage]:
    """The base image of each architecture that is pushed, with its layers copied to where they are needed."""
    if not stack.base_image:
        return {}
    place, reference = parse_image(stack.base_image, folder=ws.folder)
    source = ws.repository(place, own=False)
    bases = {}
    for platform in sorted({pushing.architecture(item.entry) for item in plan.to_send()}):
        bases[platform] = pushing.base_image(source, reference, stack.base_image.partition("://")[2] or stack.base_image, platform)
        pushing.copy_base(source, repository, bases[platform])
    return bases


def _oci_labels(ws: Workspace) -> dict[str, str]:
    return {f"org.opencontainers.image.{key}": value for key, value in ws.labels().items()}


def _known_catalog(ws: Workspace, repository: Repository) -> Catalog:
    """The last catalog; a damaged one is read anew from the tags."""
    try:
        return indexing.load_catalog(repository)
    except (CatalogError, FormatError) as error:
        ws.progress.say(f"WARNING: the catalog of {repository.name} is left aside: {error.message}")
        return Catalog()


def _mirror_url(ws: Workspace, image: str, location: Location) -> str:
    """What stock Spack takes as a mirror: the registry, or the local mirror where the registry is a directory."""
    return str(location) if isinstance(location, RegistryLocation) else ws.mirror(image).root.as_uri()

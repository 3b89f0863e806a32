"""From the mirror to the registry, its indexes and the site; and whether what is there is right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cachelib.model.catalog import Catalog
from cachelib.model.config import Stack
from cachelib.model.errors import CacheError, MirrorError
from cachelib.model.image import BaseImage
from cachelib.model.oci import Location, RegistryLocation, parse_location
from cachelib.model.ports import Repository
from cachelib.pipeline.workspace import JOBS, PROJECT, Workspace
from cachelib.steps import indexing, pushing, rendering, reports, verifying
from cachelib.steps.reports import Report
from cachelib.tools.site import serving, write_site
from cachelib.tools.templates import JinjaTemplates


def push(ws: Workspace, to: str = "", *, force: bool = False, dry_run: bool = False, jobs: int = JOBS) -> Report:
    """Push the mirrors of all images into the registry."""
    return reports.join(_push(ws, image, stack, ws.location(to).child(image), force, dry_run, jobs) for image, (_, stack) in _mirrored(ws))


def index(ws: Workspace, to: str = "", *, full: bool = False, jobs: int = JOBS) -> Report:
    """Bring catalog and Spack index of every image up to its tags."""
    found = []
    for image in ws.images():
        repository = ws.repository(ws.location(to).child(image))
        known = Catalog() if full else _known_catalog(ws, repository)
        indexed = indexing.read_tags(repository, known, jobs=jobs, progress=ws.progress)
        # Spack's index first: a client that sees the new catalog's site finds everything it names.
        spack_changed = indexing.write_spack_index(repository, indexing.spack_index(indexed.catalog))
        changed = indexing.write_catalog(repository, indexed.catalog)
        found.append(reports.index_report(indexed.with_written(changed or spack_changed), repository.name))
    return reports.join(found)


def render(ws: Workspace, to: str = "", out: str = "") -> Report:
    """Render website and API from the catalogs."""
    images = []
    for image in ws.images():
        location = ws.location(to).child(image)
        repository = ws.repository(location)
        catalog = indexing.load_catalog(repository)
        images.append(
            rendering.SiteImage(name=image, mirror_url=_mirror_url(ws, image, location), reference=repository.name, catalog=catalog)
        )
    folder = Path(out).resolve() if out else ws.var / "site"
    count = write_site(folder, rendering.render(ws.settings.site, images, JinjaTemplates(PROJECT / "templates")))
    return Report(lines=(f"render: {count} files in {folder}",))


def verify(ws: Workspace, to: str = "", *, jobs: int = JOBS) -> Report:
    """Check everything the registry holds against everything else."""
    repositories = [ws.repository(ws.location(to).child(image)) for image in ws.images()]
    return reports.join(reports.verify_report(verifying.verify(r, jobs=jobs, progress=ws.progress), r.name) for r in repositories)


def serve(ws: Workspace, port: int = 8000, out: str = "") -> None:
    """Show the rendered site on this machine until interrupted."""
    with serving(Path(out).resolve() if out else ws.var / "site", port) as server:
        ws.progress.say(f"the site is at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()


def _mirrored(ws: Workspace) -> Iterator[tuple[str, tuple[str, Stack]]]:
    found = [(image, named) for image, named in ws.images().items() if ws.mirror(image).entry_paths()]
    if not found:
        raise MirrorError(f"there is nothing to push: {ws.var / 'mirror'} holds no entries", hint="run `inv build` first")
    yield from found


def _push(ws: Workspace, image: str, stack: Stack, location: Location, force: bool, dry_run: bool, jobs: int) -> Report:
    mirror, repository = ws.mirror(image), ws.repository(location)
    plan = pushing.plan_push(mirror.entries(), repository.tags(), force=force)
    if dry_run:
        return reports.plan_report(plan, repository.name)
    bases: dict[str, BaseImage] = {}
    if stack.base_image:
        where, _, reference = stack.base_image.rpartition(":")
        source = ws.repository(parse_location(where, folder=ws.folder))
        for arch in sorted({pushing.architecture(item.entry) for item in plan.to_send()}):
            bases[arch] = pushing.base_image(source, reference, stack.base_image.partition("://")[2] or stack.base_image, arch)
            pushing.copy_base(source, repository, bases[arch])
    outcomes = pushing.push(
        plan,
        mirror,
        repository,
        catalog=_known_catalog(ws, repository),
        bases=bases,
        vendor=ws.settings.vendor,
        jobs=jobs,
        progress=ws.progress,
    )
    return reports.push_report(outcomes, {item.entry.hash: item.entry.label for item in plan.items}, repository.name)


def _known_catalog(ws: Workspace, repository: Repository) -> Catalog:
    """The last catalog; a damaged one is read anew from the tags."""
    try:
        return indexing.load_catalog(repository)
    except CacheError as error:
        ws.progress.say(f"WARNING: the catalog of {repository.name} is left aside: {error.message}")
        return Catalog()


def _mirror_url(ws: Workspace, image: str, location: Location) -> str:
    """What stock Spack takes as a mirror: the registry, or the local mirror where the registry is a directory."""
    return str(location) if isinstance(location, RegistryLocation) else ws.mirror(image).root.as_uri()

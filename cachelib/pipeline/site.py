"""From the registry to the site."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cachelib.model.config import Site
from cachelib.model.errors import CacheError, CatalogError, ConfigError
from cachelib.model.failure import Failure
from cachelib.model.oci import CATALOG_TAG, Location, RegistryLocation
from cachelib.model.ports import Repository
from cachelib.model.site import SiteImage
from cachelib.model.wanted import Wanted
from cachelib.pipeline.forecasting import stack_wants
from cachelib.pipeline.layers import upstreams_of
from cachelib.pipeline.workspace import PROJECT, Workspace
from cachelib.steps import artifacts, remembering, rendering
from cachelib.steps.pages.failing import readable
from cachelib.steps.reports import Report
from cachelib.tools import actions
from cachelib.tools.docs_folder import docs_files
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates

#: Of so many failures the site shows the end of the log, of so many bytes.
_LOGS, _END = 200, 32 * 1024


def render(ws: Workspace, to: str = "", out: str = "", docs: str = "") -> Report:
    """Render website and API from the catalogs; below docs/ the documentation that was built in the folder `docs`."""
    pages = docs_files(Path(docs).resolve()) if docs and ws.settings.site.docs else None
    images = site_images(ws, to)
    folder = site_folder(ws, out)
    written = write_site(folder, rendering.render(ws.settings.site, images, site_templates(ws.folder, ws.settings.site), pages))
    actions.set_outputs(ws.env, {"folder": str(folder)})
    rewritten = f"{written.new} new, {written.changed} changed, {written.gone} gone; the others are as they were"
    return Report(lines=(f"render: {written.files} files ({written.size / 1e6:.1f} MB) in {folder}", f"  {rewritten}"))


def site_images(ws: Workspace, to: str = "") -> list[SiteImage]:
    """What the registry holds; raise CatalogError where nothing is indexed in it."""
    images, indexed = [], []
    for image in ws.images():
        location = ws.location(to).child(image)
        repository = ws.repository(location)
        catalog = artifacts.load_catalog(repository)
        indexed.append(repository.manifest(CATALOG_TAG) is not None)
        failures = remembering.known_failures(repository, catalog.entries)
        images.append(
            SiteImage(
                name=image, mirror_url=_mirror_url(ws, image, location), reference=repository.name, catalog=catalog, failures=failures,
                logs=_logs(repository, failures), wanted=_wanted(ws, repository, image), upstreams=upstreams_of(ws, image),
                keys=remembering.known_keys(repository),
            )
        )  # fmt: skip
    if not any(indexed):
        raise CatalogError(f"nothing is indexed in {ws.location(to)}", hint="is it the right place? `inv push` and `inv index` fill it")
    return images


def site_folder(ws: Workspace, out: str = "") -> Path:
    """Where the site is rendered to."""
    return Path(out).resolve() if out else ws.var / "site"


def site_templates(folder: Path, site: Site) -> JinjaTemplates:
    """The templates: the owner's, beside cache.yaml in `folder`, where there are some, else those of this project."""
    own = folder / site.templates
    if site.templates and not own.is_dir():
        raise ConfigError(f"site.templates: {own} is no folder", hint="copy the templates that are to be other ones there")
    return JinjaTemplates(*template_folders(folder, site))


def template_folders(folder: Path, site: Site) -> list[Path]:
    """The folders that templates are looked for in, the owner's first."""
    return [*([folder / site.templates] if site.templates else []), PROJECT / "templates"]


def _logs(repository: Repository, failures: Mapping[str, Failure]) -> dict[str, str]:
    """The ends of the logs of the last failures; one that can't be read is left out, for it is in the registry all the same."""
    found: dict[str, str] = {}
    for h, failure in sorted(failures.items(), key=lambda item: item[1].last, reverse=True)[:_LOGS]:
        if failure.log:
            with contextlib.suppress(CacheError):
                found[h] = readable(remembering.failure_blob(repository, failure.log)[-_END:])
    return found


def _wanted(ws: Workspace, repository: Repository, image: str) -> tuple[Wanted, ...]:
    """What the stacks want that fill an image; a stack that is no more wants nothing."""
    names = [name for name, stack in ws.settings.stacks.items() if stack.image_name == image]
    return tuple(one for name in names for one in stack_wants(ws, repository, name))


def _mirror_url(ws: Workspace, image: str, location: Location) -> str:
    """What stock Spack takes as a mirror: the registry, or the local mirror where the registry is a directory."""
    return str(location) if isinstance(location, RegistryLocation) else ws.mirror(image).root.as_uri()

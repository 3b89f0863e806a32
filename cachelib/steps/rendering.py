"""Renders catalogs into a site: pages for people, JSON for programs, Spack's index. A pure function of its input."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.config import Site
from cachelib.model.database import index_files
from cachelib.model.digest import Digest
from cachelib.model.ports import File, Templates
from cachelib.model.site import Contents, SiteImage
from cachelib.steps.api.dependents import package_dependents
from cachelib.steps.api.files import api
from cachelib.steps.collecting import collect
from cachelib.steps.package_page import package_pages

__all__ = ["SiteImage", "render"]


def render(site: Site, images: Iterable[SiteImage], templates: Templates) -> Iterator[File]:
    """Every file of the site. The same input gives the same bytes, whenever and wherever it is rendered."""
    contents = collect(images)
    spack_indexes: dict[str, Digest] = {}
    for image in contents.images:
        spack_indexes[image.name] = yield from _spack_index(image)
    for made in api(site, contents, spack_indexes):
        yield made.file
    yield from _pages(site, contents, templates)


def _spack_index(image: SiteImage) -> Generator[File, None, Digest]:
    """Spack's own index of an image; its text is the largest there is, and is not held longer than here."""
    data = image.catalog.database.data()
    for path, part in index_files(data):
        yield PurePosixPath(image.name) / path, part
    return Digest.of(data)


def _pages(site: Site, contents: Contents, templates: Templates) -> Iterator[File]:
    common: dict[str, Any] = {
        "site": site, "images": contents.images, "packages": contents.packages, "builds": contents.builds, "size": contents.size,
    }  # fmt: skip
    yield PurePosixPath("assets/style.css"), templates.asset("site/style.css")
    yield PurePosixPath("assets/site.js"), templates.asset("site/site.js")
    yield PurePosixPath("index.html"), templates.render("site/index.html", {**common, "root": "", "page": "front"})
    yield PurePosixPath("packages/index.html"), templates.render("site/packages.html", {**common, "root": "../", "page": "packages"})
    for script in ("api.js", "parts.js", "package.js", "layout.js", "drawing.js", "build.js"):
        yield PurePosixPath("assets", script), templates.asset(f"site/{script}")
    yield PurePosixPath("build/index.html"), templates.render("site/build.html", {**common, "root": "../", "page": "build"})
    for shown in package_pages(contents, package_dependents(contents)):
        values = {**common, "root": "../../", "page": "package", "shown": shown, "package": shown.package, "newest": shown.newest}
        yield PurePosixPath("packages", shown.package.path, "index.html"), templates.render("site/package.html", values)
    # The page for what isn't there is shown at any depth, so its links start at the site's root.
    root = f"{site.url.rstrip('/')}/" if site.url else "/"
    yield PurePosixPath("404.html"), templates.render("site/404.html", {**common, "root": root, "page": "404"})

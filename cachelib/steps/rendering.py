"""Renders catalogs into a site: pages for people, JSON for programs, Spack's index. A pure function of its input."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.config import Site
from cachelib.model.database import index_files
from cachelib.model.digest import Digest
from cachelib.model.ports import File, Templates
from cachelib.model.site import Contents, Package, SiteImage, page_path
from cachelib.steps.api.files import api
from cachelib.steps.collecting import collect
from cachelib.steps.search import search_files

__all__ = ["SiteImage", "render"]


def render(site: Site, images: Iterable[SiteImage], templates: Templates) -> Iterator[File]:
    """Every file of the site. The same input gives the same bytes, whenever and wherever it is rendered."""
    contents = collect(images)
    spack_indexes: dict[str, Digest] = {}
    for image in contents.images:
        spack_indexes[image.name] = yield from _spack_index(image)
    for made in api(site, contents, spack_indexes):
        yield made.file
    yield from search_files(contents)
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
    for name in ("search-page.js", "search.js", "versions.js"):
        yield PurePosixPath("assets", name), templates.asset(f"site/{name}")
    yield PurePosixPath("search/index.html"), templates.render("site/search.html", {"site": site, "root": "../", "page": "search"})
    for package in contents.packages:
        values = {**common, "root": "../../", "page": "package", "package": package, "needs": _needs(contents, package)}
        yield PurePosixPath("packages", package.path, "index.html"), templates.render("site/package.html", values)
    # The page for what isn't there is shown at any depth, so its links start at the site's root.
    root = f"{site.url.rstrip('/')}/" if site.url else "/"
    yield PurePosixPath("404.html"), templates.render("site/404.html", {**common, "root": root, "page": "404"})


#: A dependency of a build as its page lists it: name, DAG hash, whether it is published, and the path of its page.
Dependency = tuple[str, str, bool, str]


def _needs(contents: Contents, package: Package) -> dict[tuple[str, str], list[Dependency]]:
    """What each build of a package directly needs at run time, externals aside."""
    graphs = {(held.image, held.indexed): held.graph for held in contents.graphs}
    entries = {image.name: image.catalog.entries for image in contents.images}
    found: dict[tuple[str, str], list[Dependency]] = {}
    for build in package.builds:
        published = entries[build.image]
        nodes = graphs[build.image, published[build.hash].indexed].nodes
        found[build.image, build.hash] = [
            (nodes[h].name, h, h in published, page_path(nodes[h].name)) for h in build.needs if not nodes[h].external
        ]
    return found

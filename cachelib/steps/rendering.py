"""Renders catalogs into a site: pages for people, JSON for programs, Spack's index. A pure function of its input."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.config import Site
from cachelib.model.database import index_files
from cachelib.model.digest import Digest
from cachelib.model.ports import File, Files, Templates
from cachelib.model.signing import key_files
from cachelib.model.site import Contents, SiteImage, key_path
from cachelib.steps.api.dependents import package_dependents
from cachelib.steps.api.files import api
from cachelib.steps.collecting import collect
from cachelib.steps.package_page import package_pages
from cachelib.steps.pages.badges import badges
from cachelib.steps.pages.charts import charts, coverage_rows
from cachelib.steps.pages.failing import failing
from cachelib.steps.pages.news import feeds, newest, sitemap
from cachelib.steps.pages.outlook import outlooks, ready
from cachelib.steps.pages.readme import readme_files
from cachelib.steps.pages.using import every_upstream, front_images, mirror_files
from cachelib.steps.search import search_files

__all__ = ["SiteImage", "render"]

#: The scripts of the pages of packages and builds, and of the search.
SCRIPTS = (
    "api.js",
    "parts.js",
    "package.js",
    "layout.js",
    "drawing.js",
    "build.js",
    "search-page.js",
    "search.js",
    "versions.js",
    "differing.js",
    "why.js",
)


def render(site: Site, images: Iterable[SiteImage], templates: Templates, docs: Files | None = None) -> Iterator[File]:
    """Every file of the site, with the documentation where there is some. The same input gives the same bytes, wherever it is rendered."""
    contents = collect(images)
    spack_indexes: dict[str, Digest] = {}
    for image in contents.images:
        spack_indexes[image.name] = yield from _spack_index(image)
    users = package_dependents(contents)
    for made in api(site, contents, spack_indexes, users):
        yield made.file
    for one in contents.keys:
        yield key_path(one.key.fingerprint), one.data
    yield from search_files(contents)
    yield from _pages(site, contents, users, templates, documented=docs is not None)
    yield from docs or ()


def _spack_index(image: SiteImage) -> Generator[File, None, Digest]:
    """Spack's own index of an image; its text is the largest there is, and is not held longer than here."""
    data = image.catalog.database.data()
    for path, part in index_files(data):
        yield PurePosixPath(image.name) / path, part
    if image.keys:
        for path, part in key_files(image.keys):
            if path.name != "layout.json":  # the index has brought it
                yield PurePosixPath(image.name) / path, part
    return Digest.of(data)


def _pages(site: Site, contents: Contents, users: Mapping[str, Sequence[str]], templates: Templates, *, documented: bool) -> Iterator[File]:
    common: dict[str, Any] = {"site": site, "packages": contents.packages, "builds": contents.builds, "size": contents.size}
    common["documented"] = documented
    paths: list[str] = []

    def page(name: str, template: str, **values: object) -> File:
        """A page; `name` is its folder, whose depth says where the site's root is."""
        paths.append(name)
        about = {**common, "path": name, "root": "../" * name.count("/"), "page": name.partition("/")[0], **values}
        return PurePosixPath(name, "index.html"), templates.render(f"site/{template}", about)

    for asset in ("style.css", "site.js", *SCRIPTS):
        yield PurePosixPath("assets", asset), templates.asset(f"site/{asset}")
    if site.color or site.color_dark:
        yield PurePosixPath("assets/colors.css"), colors(site)
    failures, recent, found = failing(contents), newest(contents), outlooks(contents)
    yield page("", "index.html", images=front_images(contents), recent=recent[:12], failing=len(failures), ready=ready(found))
    yield page("packages/", "packages.html")
    yield page("build/", "build.html")
    yield page("search/", "search.html")
    yield page("why/", "why.html", upstreams=every_upstream(contents))
    for shown in package_pages(contents, users):
        package = shown.package
        yield page(f"packages/{package.path}/", "package.html", shown=shown, package=package, newest=shown.newest)
        yield from badges(package, templates)
    yield page("failures/", "failures.html", failures=failures)
    for one in failures:
        yield page(f"failures/{one.hash}/", "failure.html", one=one)
    yield page("weather/", "weather.html", outlooks=found)
    yield page("statistics/", "statistics.html", coverage=coverage_rows(contents), charts=charts(contents))
    yield from feeds(site, recent, failures)
    yield from mirror_files(contents.images)
    yield from readme_files(site, contents)
    yield from sitemap(site, paths)
    # The page for what isn't there is shown at any depth, so its links start at the site's root.
    root = f"{site.url.rstrip('/')}/" if site.url else "/"
    yield PurePosixPath("404.html"), templates.render("site/404.html", {**common, "root": root, "page": "404", "path": "404.html"})


def colors(site: Site) -> bytes:
    """The owner's colours, put over those of the style."""
    light, dark = site.color or site.color_dark, site.color_dark or site.color
    rule = ":root {{ --accent: {0}; --accent-soft: color-mix(in srgb, {0} 14%, transparent); }}\n"
    return (rule.format(light) + "@media (prefers-color-scheme: dark) { " + rule.format(dark).strip() + " }\n").encode()

"""Builds and caches held against each other, and a cache added up."""

from __future__ import annotations

from pathlib import Path

from cachelib.model.catalog import Catalog
from cachelib.model.errors import CatalogError, UsageError
from cachelib.model.oci import Location, RegistryLocation, parse_location
from cachelib.model.ports import Repository
from cachelib.model.site import SiteImage
from cachelib.model.spec import ConcreteSpec
from cachelib.pipeline.asking import named_path, read_specs
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, comparing, remembering, reports
from cachelib.steps.collecting import collect
from cachelib.steps.reports import Report


def diff(ws: Workspace, a: str, b: str, to: str = "") -> Report:
    """Compare two builds, named by their hashes, their packages or spec files; or two caches, named by where they are."""
    places = [_place(text) for text in (a, b)]
    if places[0] is None and places[1] is None:
        catalogs: list[Catalog] = []
        return comparing.builds_report(_build(ws, a, to, catalogs), _build(ws, b, to, catalogs))
    if places[0] is None or places[1] is None:
        raise UsageError(
            f"{a} and {b}: one is a cache and the other is none", hint="compare two builds, or two of oci://HOST/NAME, oci-layout:DIR"
        )
    found, empty = [], [0, 0]
    for image in ws.images():
        held = [comparing.held(artifacts.load_catalog(_there(ws, place.child(image)))) for place in places if place is not None]
        empty = [count + len(one) for count, one in zip(empty, held, strict=True)]
        found.append(comparing.caches_report(held[0], held[1], (f"{a}/{image}", f"{b}/{image}")))
    nothing = [place for place, count in zip((a, b), empty, strict=True) if not count]
    hint = f"name where the cache is, without the name of an image; looked for: {', '.join(ws.images())}"
    if len(nothing) == 2:
        raise CatalogError(f"nothing is indexed in {a}, nor in {b}", hint=hint)
    told = tuple(f"WARNING: nothing is indexed in {place}; {hint}" for place in nothing)
    return reports.join([Report(lines=told), *found])


def _there(ws: Workspace, location: Location) -> Repository:
    """A repository of any cache: the credentials of the cache's own go to where that is, and to no other."""
    own = ws.location("")
    return ws.repository(location, own=isinstance(location, RegistryLocation) and getattr(own, "host", "") == location.host)


def stats(ws: Workspace, to: str = "") -> Report:
    """Add a cache up."""
    images = []
    for name in ws.images():
        repository = ws.repository(ws.location(to).child(name))
        catalog = artifacts.load_catalog(repository)
        failures = remembering.known_failures(repository, catalog.entries)
        images.append(SiteImage(name=name, mirror_url="", reference=repository.name, catalog=catalog, failures=failures))
    if not any(image.catalog.entries or image.failures for image in images):
        raise CatalogError(f"nothing is indexed in {ws.location(to)}", hint="is it the right place? `inv push` and `inv index` fill it")
    return comparing.statistics(collect(images))


def _place(text: str) -> Location | None:
    """A cache, where a text names one."""
    return parse_location(text, folder=Path.cwd()) if text.startswith(("oci://", "oci+http://", "oci-layout:")) else None


def _build(ws: Workspace, text: str, to: str, catalogs: list[Catalog]) -> ConcreteSpec:
    """A build of the cache, or the spec in a file; catalogs are read when they are needed, once."""
    path = named_path(text)
    if path is not None:
        specs = list(read_specs(path))
        if len(specs) != 1:
            raise UsageError(f"{path} holds {len(specs)} specs", hint="`inv why` takes a lock file; here it takes one spec")
        return specs[0]
    if not catalogs:
        catalogs += [artifacts.load_catalog(ws.repository(ws.location(to).child(image))) for image in ws.images()]
    return comparing.find_build(catalogs, text)

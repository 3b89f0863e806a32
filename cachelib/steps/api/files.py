"""All files of the API, in the order in which they can be made: what names another by its digest comes after that."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from cachelib.model.config import Site
from cachelib.model.digest import Digest
from cachelib.model.site import Contents
from cachelib.steps.api import compatibility, dependents, failures, packages, recents, spec_files, specs, totals, weather
from cachelib.steps.api.first_generation import DATES, MANIFEST, first_generation
from cachelib.steps.api.openapi import openapi
from cachelib.steps.api.schema import api_schema
from cachelib.steps.api.service import service
from cachelib.steps.api.text import Document, Ref


def api(
    site: Site, contents: Contents, spack_indexes: Mapping[str, Digest], users: Mapping[str, Sequence[str]]
) -> Iterator[Document]:  # fmt: skip
    """Every file; `spack_indexes` are the digests of Spack's own index of each image, `users` the names of what builds on a name."""
    newest = recents.newest_first(contents)
    budget = spec_files.budget_of(len(newest))
    whole = yield from spec_files.spec_files(contents, newest, budget)
    named = {
        "packages": (yield from packages.packages(contents.packages, users)),
        "specs": (yield from specs.specs(contents, whole)),
        "dependents": (yield from dependents.dependents(contents)),
        "failures": (yield from failures.failures(contents)),
        "weather": (yield from weather.weather(contents)),
        "recents": (yield from recents.recents(contents)),
        "coverage": (yield from totals.coverage(contents)),
        "compatibility": (yield from compatibility.compatibility(contents)),
        "compilers": (yield from totals.compilers(contents)),
        "targets": (yield from totals.targets(contents)),
        "openapi": (yield from _one(_indented("openapi.json", openapi()))),
        "schema": (yield from _one(_indented("schema.json", api_schema()))),
    }
    old = {made.path: made for made in first_generation(site, contents, newest, whole)}
    named["manifest"] = yield from _one(old[MANIFEST])
    named["manifest-dates"] = yield from _one(old[DATES])
    room = {"count": len(whole), "of": len(newest), "budget": budget}
    yield service(site, contents, spack_indexes, dict(sorted(named.items())), room)


def _one(made: Document) -> Generator[Document, None, Ref]:
    yield made
    return made.ref


def _indented(path: str, data: Mapping[str, Any]) -> Document:
    return Document(path, (json.dumps(data, indent=1) + "\n").encode())

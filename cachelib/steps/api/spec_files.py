"""Whole DAGs as Spack's spec files, of the newest builds: all of them would take more than a site may hold."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable

from cachelib.model.graph import Graph
from cachelib.model.site import Build, Contents
from cachelib.steps.api.specs import NODE_LIMIT, Key
from cachelib.steps.api.text import API_VERSION, SERVICE, Document, Ref, encode, portable

# Half of what GitHub Pages holds, what a build takes without its spec file, and the least and the most that is left for those (bytes).
_ROOM, _PER_BUILD, _LEAST, _MOST = 450_000_000, 4_700, 15_000_000, 200_000_000
#: And a single one, as any file of the API.
FILE_LIMIT = 1_900_000
#: The first generation's client finds its way by this folder's name.
FOLDER = "_cache"


def budget_of(builds: int) -> int:
    """What the spec files of a cache of so many builds may take together (bytes)."""
    return min(_MOST, max(_LEAST, _ROOM - builds * _PER_BUILD))


def spec_files(contents: Contents, builds: Iterable[Build], budget: int) -> Generator[Document, None, dict[Key, Ref]]:
    """The spec files of as many builds as the budget has room for, in their order; returns which build has which."""
    graphs = {(held.image, held.indexed): held.graph for held in contents.graphs}
    entries = {image.name: image.catalog.entries for image in contents.images}
    found: dict[Key, Ref] = {}
    for build in builds:
        entry = entries[build.image][build.hash]
        graph = graphs[build.image, entry.indexed]
        closure = graph.closure(build.hash)
        sizes = [len(graph.database.text(h)) for h in closure]
        if max(sizes) > NODE_LIMIT or sum(sizes) > FILE_LIMIT:
            continue
        path = spec_file_path(build)
        data = _spec_file(path, graph, closure, entry.spec_format)
        budget -= len(data)
        if budget < 0:
            break
        made = Document(path, data)
        yield made
        found[build.image, build.hash] = made.ref
    return found


def stem(build: Build) -> str:
    """The name that Spack of 2021 gave a spec's files: architecture, compiler, name, version, DAG hash (`tarball_name`)."""
    compiler = (build.compilers or ("none@none",))[0].replace("@", "-")
    text = "-".join((build.platform, build.os, build.target, compiler, build.name, build.version)).lower()
    return f"{re.sub(r'[^a-z0-9_.+-]', '_', text)[:180]}-{build.hash}"


def spec_file_path(build: Build) -> str:
    """Where the spec file of a build lies."""
    return f"{FOLDER}/{build.image}/{stem(build)}.spec.json"


def _spec_file(path: str, graph: Graph, closure: list[str], spec_format: int) -> bytes:
    nodes = b",\n".join(portable(graph.database.text(h)) for h in closure)
    # Spack reads `spec` and leaves other keys alone (spec.py, from_dict).
    return b'{"meta":%s,\n"links":%s,\n"spec":{"_meta":{"version":%d},"nodes":[\n%s\n]}}\n' % (
        encode({"api": API_VERSION, "kind": "spec-file"}),
        encode({"self": path, "service": SERVICE}),
        spec_format,
        nodes,
    )

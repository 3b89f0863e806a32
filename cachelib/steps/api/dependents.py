"""Reverse dependencies: who builds on a spec, and which packages build on a package."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from cachelib.model.catalog import CatalogEntry
from cachelib.model.site import Contents, Held
from cachelib.steps.api.specs import by_prefix, index
from cachelib.steps.api.text import Document, Ref, document, encode, rows, table

#: What more specs than this depend on has files of its own, cut by the first character of the dependent's DAG hash.
MOST = 4_096


def package_dependents(contents: Contents) -> dict[str, list[str]]:
    """The names of the packages with a published build that directly depends on a name, sorted."""
    found: dict[str, set[str]] = {}
    for held, h in _published(contents):
        nodes = held.graph.nodes
        for edge in nodes[h].edges:
            found.setdefault(nodes[edge].name, set()).add(nodes[h].name)
    return {name: sorted(names) for name, names in found.items()}


def dependents(contents: Contents) -> Generator[Document, None, Ref]:
    """Every shard of direct dependents; returns their index."""
    found: dict[str, set[str]] = {}
    for held, h in _published(contents):
        for edge in held.graph.nodes[h].edges:
            found.setdefault(edge, set()).add(h)
    shards: dict[str, Ref] = {}
    for prefix, hashes in by_prefix(found):
        lines: dict[str, bytes] = {}
        for h in hashes:
            lines[h] = yield from _line(h, found[h])
        made = document(f"dependents/{prefix}.json", "dependent-shard", {"specs": table(lines.items())})
        yield made
        shards[prefix] = made.ref
    made = index("dependents.json", "dependents", shards, {"count": len(found)})
    yield made
    return made.ref


def _line(dag_hash: str, found: Iterable[str]) -> Generator[Document, None, bytes]:
    hashes = sorted(found)
    if len(hashes) <= MOST:
        return encode({"count": len(hashes), "dependents": hashes, "parts": {}})
    cut: dict[str, list[str]] = {}
    for h in hashes:
        cut.setdefault(h[0], []).append(h)
    refs: dict[str, str] = {}
    for key, part in cut.items():
        made = document(f"dependents/{dag_hash}/{key}.json", "dependent-part", {"hash": dag_hash, "dependents": rows(map(encode, part))})
        yield made
        refs[key] = made.ref.digest
    return encode({"count": len(hashes), "dependents": [], "parts": refs})


def _published(contents: Contents) -> Iterable[tuple[Held, str]]:
    for held in contents.graphs:
        entries: Mapping[str, CatalogEntry] = next(image.catalog.entries for image in contents.images if image.name == held.image)
        for h, entry in entries.items():
            if entry.indexed is held.indexed:
                yield held, h

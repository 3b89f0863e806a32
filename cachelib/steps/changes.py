"""What makes a spec another one than the build of its package that is in the cache: the fields that differ, in words."""

from __future__ import annotations

from collections.abc import Iterator

from cachelib.model.catalog import Catalog
from cachelib.model.errors import CacheError
from cachelib.model.spec import Node

_CREATED = "org.opencontainers.image.created"
#: So many differences are named; who has more is another build altogether.
_NAMED = 4


def newest_builds(catalog: Catalog, names: frozenset[str]) -> dict[str, list[Node]]:
    """The builds of packages that a catalog has, the newest first; one whose nodes can't be read is left out."""
    found: dict[str, list[tuple[str, Node]]] = {}
    for h, entry in catalog.entries.items():
        if entry.annotations.get("org.opencontainers.image.title", "").partition("@")[0] not in names:
            continue
        try:
            node = catalog.spec(h).root
        except CacheError:
            continue
        found.setdefault(node.name, []).append((entry.annotations.get(_CREATED, ""), node))
    return {name: [node for _, node in sorted(builds, key=lambda build: build[0], reverse=True)] for name, builds in found.items()}


def changed(node: Node, builds: list[Node]) -> str:
    """What changed since the build that is nearest to a spec; nothing where its package is new."""
    if not builds:
        return ""
    # The newest of those that differ least; Python's min keeps the first.
    nearest = min(builds, key=lambda other: len(list(_differences(other, node))))
    told = list(_differences(nearest, node))
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return f"changed since {nearest.label}: {', '.join(told[:_NAMED])}{more}" if told else ""


def _differences(old: Node, new: Node) -> Iterator[str]:
    """The fields that differ, the most decisive first."""
    for name, before, after in (("target", old.target, new.target), ("os", old.os, new.os), ("version", old.version, new.version)):
        if before != after:
            yield f"{name} {before} -> {after}"
    had, has = old.parameters, new.parameters
    yield from (f"variant {name}" for name in sorted(had.keys() | has.keys()) if had.get(name) != has.get(name))
    needs, wants = ({edge.name: edge.hash for edge in node.dependencies} for node in (old, new))
    yield from (f"no longer needs {name}" for name in sorted(needs.keys() - wants.keys()))
    yield from (f"needs {name}" for name in sorted(wants.keys() - needs.keys()))
    if old.raw.get("package_hash") != new.raw.get("package_hash"):
        yield "its recipe"
    yield from (f"dependency {name}" for name in sorted(needs.keys() & wants.keys()) if needs[name] != wants[name])

"""Chooses the builds that a container is made of: for each architecture that has them all, and whatever they need at run time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import archspec.cpu

from cachelib.model.catalog import Catalog
from cachelib.model.container import Choice, Part, Root
from cachelib.model.errors import CacheError, UsageError
from cachelib.model.image import Layer
from cachelib.model.oci import go_architecture
from cachelib.model.request import Request
from cachelib.model.spec import Node
from cachelib.model.version import version_key
from cachelib.steps.targets import family

_CREATED = "org.opencontainers.image.created"
#: What every base brings along, so nobody is told that it comes from the machine.
_OF_THE_BASE = frozenset({"glibc", "musl"})


#: What an upstream of an image has of a node that the cache lacks, or nothing; raises CacheError where it can't be had.
Lend = Callable[[str, Node], Part | None]


def choose(
    catalogs: Mapping[str, Catalog], requests: Sequence[Request], wanted: Set[str] = frozenset(), lend: Lend = lambda *_: None
) -> tuple[Choice, ...]:
    """Choose builds for each architecture that has one for every request; raise UsageError where none has.

    `catalogs` are those of the cache's images, by name. Of several builds those that a stack wants today (`wanted`) come first, then newer
    versions, then those that run on more CPUs, then those that were built last. What they need and the cache lacks is asked of `lend`.
    """
    return tuple(_choice(catalogs, architecture, roots, lend) for architecture, roots in choose_roots(catalogs, requests, wanted))


def choose_roots(
    catalogs: Mapping[str, Catalog], requests: Sequence[Request], wanted: Set[str] = frozenset()
) -> Iterator[tuple[str, tuple[Root, ...]]]:
    """The builds for the requests themselves, for each architecture; raise as `choose` does."""
    found = [_candidates(catalogs, request) for request in requests]
    for request, candidates in zip(requests, found, strict=True):
        if not candidates:
            raise UsageError(
                f"no build for Linux that is published matches {request.text!r}", hint="`inv weather` and the site tell what is published"
            )
    architectures = [{architecture_of(root) for root in candidates} for candidates in found]
    shared = set.intersection(*architectures)
    if not shared:
        told = "; ".join(f"{request.text}: {', '.join(sorted(has))}" for request, has in zip(requests, architectures, strict=True))
        raise UsageError(f"no architecture has all that is asked for ({told})", hint="build what is missing, or ask for less")
    for architecture in sorted(shared):
        roots: list[Root] = []
        for candidates in found:
            here = [root for root in candidates if architecture_of(root) == architecture]
            roots.append(max(here, key=partial(_rank, roots, wanted)))
        yield architecture, tuple(roots)


def _candidates(catalogs: Mapping[str, Catalog], request: Request) -> list[Root]:
    found = []
    for image, catalog in catalogs.items():
        name = request.name.rpartition(".")[2]
        for h in (h for h in catalog.entries if h.startswith(request.hash)) if request.hash else catalog.named(name):
            spec = catalog.spec(h)
            if spec.root.platform == "linux" and request.matches(spec):
                found.append(Root(request=request.text, image=image, entry=catalog.entries[h], spec=spec))
    return found


def _choice(catalogs: Mapping[str, Catalog], architecture: str, roots: Sequence[Root], lend: Lend) -> Choice:
    parts: dict[str, Part] = {}
    outside: dict[str, Node] = {}
    for root in roots:
        for node in root.spec.runtime_closure():
            if node.hash not in parts:
                parts[node.hash] = _part(catalogs, root, node, lend)
        for node in _externals(root):
            outside.setdefault(node.name, node)
    return Choice(
        architecture=architecture, roots=tuple(roots), parts=tuple(parts.values()), warnings=tuple(_warnings(roots, outside.values()))
    )


def _rank(chosen: Sequence[Root], wanted: Set[str], root: Root) -> tuple[Any, ...]:
    """What goes together comes first: a container has one base, and shares the layers of what its programs share."""
    first = chosen[0] if chosen else root
    node, held = root.spec.root, first.spec.root
    created = root.entry.annotations.get(_CREATED, "")
    alike = (root.image == first.image, node.os == held.os, node.target == held.target)
    shared = sum(root.spec.nodes.keys() & other.spec.nodes.keys() != set() for other in chosen)
    return (alike, root.entry.hash in wanted, version_key(node.version), shared, -_level(node.target), created, root.entry.hash)


def _part(catalogs: Mapping[str, Catalog], root: Root, node: Node, lend: Lend) -> Part:
    for image in (root.image, *catalogs):
        if (entry := catalogs[image].entries.get(node.hash)) is not None:
            return Part(image=image, label=node.label, entry=entry)
    try:
        lent = lend(root.image, node)
    except CacheError as error:
        raise type(error)(f"{root.spec.label} needs {node.label}, {error.message}: the container would not run", hint=error.hint) from None
    if lent is not None:
        return lent
    raise UsageError(
        f"{root.spec.label} needs {node.label}, which is not published: the container would not run",
        hint="build and push it: `inv build --spec` with the same request, then `inv push index`",
    )


def _externals(root: Root) -> list[Node]:
    """What is taken from the machine at run time."""
    seen, waiting, found = {root.spec.root.hash}, [root.spec.root], []
    while waiting:
        node = waiting.pop()
        if node.external:
            found.append(node)
        for edge in node.runtime_edges():
            if edge.hash not in seen:
                seen.add(edge.hash)
                waiting.append(root.spec.nodes[edge.hash])
    return found


def _warnings(roots: Sequence[Root], outside: Iterable[Node]) -> list[str]:
    told = [
        f"{node.label} is the machine's own, not the cache's: the base has to bring it along"
        for node in outside
        if node.name not in _OF_THE_BASE
    ]
    systems = Counter(root.spec.root.os for root in roots)
    if len(systems) > 1:
        told.append(f"built on {' and '.join(sorted(systems))}: one base has to suit them all")
    return told


def layer_of(part: Part) -> Layer:
    """A part's layer."""
    return Layer(digest=part.entry.tarball.digest, size=part.entry.tarball.size, diff_id=part.entry.diff_id)


def architecture_of(root: Root) -> str:
    """The architecture of a build, as OCI calls it."""
    return go_architecture(family(root.spec.root.target))


def _level(target: str) -> int:
    """How special a target is: the more it descends from, the fewer CPUs can run it."""
    found = archspec.cpu.TARGETS.get(target)
    return len(found.ancestors) if found is not None else 0

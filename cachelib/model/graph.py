"""The DAGs of a cache as one slim graph: each node once, and of it what lists and pages tell. The JSON stays where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from sys import intern
from typing import NamedTuple

from cachelib.model.database import Database
from cachelib.model.errors import FormatError
from cachelib.model.spec import Node, format_variants, parse_node

_DAMAGED = "run `inv index --full`"


class GraphNode(NamedTuple):
    """A node: edges are DAG hashes, in Spack's order (traverse.sort_edges). A tuple: there are a hundred thousand of them."""

    name: str
    version: str
    target: str
    os: str
    platform: str
    external: bool
    variants: str
    edges: tuple[str, ...]
    runtime: tuple[str, ...]
    #: DAG hashes of the compilers, or where the format names them itself (4), `name@version`.
    compilers: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Every node of a database by DAG hash."""

    database: Database
    nodes: Mapping[str, GraphNode]

    def compilers(self, dag_hash: str) -> tuple[str, ...]:
        """`name@version` of every compiler that a node was built with, sorted."""
        found = self.nodes[dag_hash].compilers
        return tuple(sorted({intern(self.nodes[h].label) if h in self.nodes else h for h in found}))

    def libcs(self) -> dict[str, str]:
        """`glibc@2.36` or `musl@...` of each node that has one."""
        found: dict[str, str] = {}
        for h in self._bottom_up():
            node = self.nodes[h]
            own = intern(node.label) if node.name in ("glibc", "musl") else ""
            if libc := own or next((found[edge] for edge in node.edges if edge in found), ""):
                found[h] = libc
        return found

    def missing(self, published: Set[str]) -> dict[str, frozenset[str]]:
        """What each node needs at run time and nobody published, externals aside; only nodes for which there is something."""
        found: dict[str, frozenset[str]] = {}
        for h in self._bottom_up():
            lacks = {e for e in self.nodes[h].runtime if e not in published and not self.nodes[e].external}
            below = [found[e] for e in self.nodes[h].runtime if e in found]
            if lacks or below:
                found[h] = frozenset(lacks.union(*below))
        return found

    def closure(self, dag_hash: str) -> list[str]:
        """Every node of a DAG, root first, in the order of Spack's own traversal."""
        seen: dict[str, None] = {}
        waiting = [dag_hash]
        while waiting:
            h = waiting.pop()
            if h not in seen:
                seen[h] = None
                waiting += reversed(self.nodes[h].edges)
        return list(seen)

    def _bottom_up(self) -> Iterator[str]:
        """Every node after all that it depends on."""
        entered: set[str] = set()
        for root in self.nodes:
            stack = [(root, False)]
            while stack:
                h, left = stack.pop()
                if left:
                    yield h
                elif h not in entered:
                    entered.add(h)
                    stack.append((h, True))
                    stack += [(edge, False) for edge in self.nodes[h].edges if edge not in entered]


def read_graph(database: Database) -> Graph:
    """Read every node of a database; raise FormatError where one is malformed, misplaced or missing."""
    nodes: dict[str, GraphNode] = {}
    for h in database.lines:
        raw = database.node(h)
        node = parse_node(raw)
        if node.hash != h:
            raise FormatError(f"the catalog has {node.label} in the place of {h}", hint=_DAMAGED)
        nodes[intern(h)] = _slim(node, raw)
    for found in nodes.values():
        for edge in found.edges:
            if edge not in nodes:
                raise FormatError(f"the catalog names {found.label}, but not its node {edge}", hint=_DAMAGED)
    return Graph(database=database, nodes=nodes)


def _slim(node: Node, raw: Mapping[str, object]) -> GraphNode:
    edges = sorted(node.dependencies, key=lambda edge: (edge.name, edge.hash))
    compiler = raw.get("compiler")
    if isinstance(compiler, dict) and compiler:  # spec format 4
        compilers: tuple[str, ...] = (f"{compiler['name']}@{compiler['version']}",)
    else:
        compilers = tuple(intern(edge.hash) for edge in edges if {"c", "cxx", "fortran"} & set(edge.virtuals))
    return GraphNode(
        name=intern(node.name), version=intern(node.version), target=intern(node.target), os=intern(node.os),
        platform=intern(node.platform), external=node.external, variants=intern(format_variants(raw)),
        edges=tuple(intern(edge.hash) for edge in edges),
        runtime=tuple(intern(edge.hash) for edge in node.runtime_edges()), compilers=compilers,
    )  # fmt: skip

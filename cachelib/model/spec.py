"""Concrete specs, read from Spack's spec JSON (formats 4 and 5) and checked at the border."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachelib.model.errors import FormatError

_HASH = re.compile(r"[a-z2-7]{32}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# A version may be a git reference (`git.feature/x=1.0`), so slashes occur; nothing may climb or hide in it, though.
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=:,@/-]{0,199}")
# Spack, deptypes.py: what a package needs where it runs.
RUNTIME = frozenset({"link", "run"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A dependency of a node: which node, and how it is used."""

    name: str
    hash: str
    deptypes: frozenset[str]
    virtuals: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One package of a concrete DAG. `json` is Spack's JSON, written compactly, its keys in their order: the DAG hash hangs on it."""

    name: str
    version: str
    hash: str
    namespace: str
    platform: str
    os: str
    target: str
    external: bool
    dependencies: tuple[Edge, ...]
    json: bytes

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON as an object, made anew each time: ten thousand of them at once would be a matter of memory."""
        found: dict[str, Any] = json.loads(self.json)
        return found

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Variants and flags, out of the JSON."""
        found: dict[str, Any] = self.raw.get("parameters", {})
        return found

    @property
    def label(self) -> str:
        """`name@version/hash7`, as Spack prints it in short."""
        return f"{self.name}@{self.version}/{self.hash[:7]}"

    def runtime_edges(self) -> tuple[Edge, ...]:
        """Edges to what is needed at run time, in Spack's order (traverse.sort_edges)."""
        edges = (edge for edge in self.dependencies if edge.deptypes & RUNTIME)
        return tuple(sorted(edges, key=lambda edge: (edge.name, edge.hash)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcreteSpec:
    """A concrete spec: its root and every node below it, by DAG hash."""

    root: Node
    nodes: Mapping[str, Node]
    format: int

    @property
    def label(self) -> str:
        return self.root.label

    def lines(self) -> dict[str, bytes]:
        """The JSON of every node by DAG hash, as an index holds it."""
        return {h: node.json for h, node in self.nodes.items()}

    def runtime_closure(self) -> tuple[Node, ...]:
        """The link/run closure without externals, dependencies first and the root last.

        The order is Spack's (binary_distribution.py, `_oci_put_manifest`: topological, most breadth-first, reversed),
        so that layers lie in our images as they lie in Spack's.
        """
        return tuple(node for node in reversed(_topological(self)) if not node.external)

    def compilers(self) -> tuple[str, ...]:
        """`name@version` of every compiler the root was built with, sorted."""
        if compiler := self.root.raw.get("compiler"):  # spec format 4
            return (f"{compiler['name']}@{compiler['version']}",)
        used = {edge.hash for edge in self.root.dependencies if {"c", "cxx", "fortran"} & set(edge.virtuals)}
        return tuple(sorted(f"{self.nodes[h].name}@{self.nodes[h].version}" for h in used))

    def libc(self) -> str:
        """`glibc@2.36`, `musl@...`, or nothing where the spec names none (macOS)."""
        for node in self.nodes.values():
            if node.name in ("glibc", "musl"):
                return f"{node.name}@{node.version}"
        return ""


class NodePool:
    """Nodes that were parsed already, by their JSON: the DAGs of a cache share most of theirs. Safe to use from many threads."""

    #: So many nodes are remembered, then it begins anew: a pool is a help, not a store.
    MOST = 2_000

    def __init__(self) -> None:
        self._nodes: dict[bytes, Node] = {}

    def node(self, raw: object) -> Node:
        """The node of a JSON object; raise FormatError as `parse_node` does."""
        text = json.dumps(raw, separators=(",", ":")).encode()
        found = self._nodes.get(text)
        if found is None:
            if len(self._nodes) >= self.MOST:
                self._nodes = {}
            found = self._nodes[text] = parse_node(raw)
        return found


def parse_spec(data: object, pool: NodePool | None = None) -> ConcreteSpec:
    """Read `{"spec": {"_meta": {"version": ..}, "nodes": [...]}}`, root first.

    Raises FormatError naming the field; extra top-level keys (Spack adds some beside `spec`) are ignored.
    """
    spec = _mapping(_mapping(data, "spec file").get("spec"), "`spec`")
    version = _mapping(spec.get("_meta"), "`spec._meta`").get("version")
    if version not in (3, 4, 5):
        raise FormatError(f"spec format {version!r} is not known", hint="formats 4 (Spack 0.23) and 5 (Spack 1.x) are read")
    raw_nodes = spec.get("nodes")
    if not isinstance(raw_nodes, list) or not raw_nodes:
        raise FormatError("`spec.nodes` holds no node")
    parse = pool.node if pool else parse_node
    parsed = [parse(raw) for raw in raw_nodes]
    if parsed[0].external:
        raise FormatError(f"{parsed[0].label} is an external: it has no binary")
    nodes = {node.hash: node for node in parsed}
    if len(nodes) != len(parsed):
        raise FormatError(f"the spec of {parsed[0].label} holds two nodes of one DAG hash")
    for node in parsed:
        for edge in node.dependencies:
            if edge.hash not in nodes:
                raise FormatError(f"{node.label} depends on {edge.name}/{edge.hash}, which the spec does not hold")
    return ConcreteSpec(root=parsed[0], nodes=nodes, format=version)


def parse_node(raw: object) -> Node:
    """Read one node of a spec file or of a Spack index; raise FormatError where a field is missing or hostile."""
    node = _mapping(raw, "spec node")
    name = _checked(node.get("name"), _NAME, "package name")
    version = _checked(node.get("version"), _VERSION, f"version of {name}")
    if ".." in version or "//" in version:
        raise FormatError(f"the version of {name} climbs out of its folder: {version!r}")
    arch = _mapping(node.get("arch"), f"`arch` of {name}")
    _mapping(node.get("parameters", {}), f"`parameters` of {name}")
    target = arch.get("target", "")
    if "compiler" in node:
        compiler = _mapping(node["compiler"], f"`compiler` of {name}")
        _checked(compiler.get("name"), _NAME, f"compiler of {name}")
        _checked(compiler.get("version"), _VERSION, f"compiler version of {name}")
    return Node(
        name=name,
        version=version,
        hash=check_hash(node.get("hash"), name),
        namespace=_checked(node.get("namespace", "builtin"), re.compile(r"[\w.-]{1,128}", re.ASCII), f"namespace of {name}"),
        platform=_plain(arch.get("platform", ""), f"platform of {name}"),
        os=_plain(arch.get("platform_os", ""), f"os of {name}"),
        target=_plain(target.get("name", "") if isinstance(target, dict) else target, f"target of {name}"),
        external=node.get("external") is not None,
        dependencies=tuple(_edges(node, name)),
        json=json.dumps(node, separators=(",", ":")).encode(),
    )


def check_hash(text: object, name: str) -> str:
    """Return the DAG hash if it is one; raise FormatError otherwise."""
    return _checked(text, _HASH, f"DAG hash of {name}")


def dag_hash(raw: Mapping[str, Any]) -> str:
    """Recompute a node's DAG hash as Spack does: base32 of the sha1 of its JSON without `hash`.

    Holds for specs that Spack concretized as they are; externals and spliced nodes hash differently.
    """
    bare = {key: value for key, value in raw.items() if key != "hash"}
    text = json.dumps(bare, separators=(",", ":"), ensure_ascii=True)
    return base64.b32encode(hashlib.sha1(text.encode(), usedforsecurity=False).digest()).decode().lower()


def format_node(raw: Mapping[str, Any]) -> str:
    """The spec in one line, as a person would type it: name, version, variants, architecture."""
    node = parse_node(raw)
    arch = "-".join(part for part in (node.platform, node.os, node.target) if part)
    return " ".join(part for part in (f"{node.name}@{node.version}", _variants(raw, but=""), f"arch={arch}") if part)


def format_variants(raw: Mapping[str, Any]) -> str:
    """The variants of a node that was parsed, as a person would type them; the build system is left out, it is the recipe's."""
    return _variants(raw, but="build_system")


def _variants(raw: Mapping[str, Any], *, but: str) -> str:
    found = sorted(raw.get("parameters", {}).items())
    return " ".join(text for key, value in found if key != but and (text := _variant(key, value)))


def _variant(key: str, value: object) -> str:
    match value:
        case True:
            return f"+{key}"
        case False:
            return f"~{key}"
        case [] | {}:
            return ""
        case list():
            return f"{key}={','.join(map(str, value))}"
        case _:
            return f"{key}={value}"


def _topological(spec: ConcreteSpec) -> list[Node]:
    """Kahn's algorithm over the runtime sub-DAG in breadth-first order (Spack, traverse.traverse_topo_edges_generator)."""
    incoming: dict[str, int] = {spec.root.hash: 0}
    queue = deque([spec.root])
    while queue:
        for edge in queue.popleft().runtime_edges():
            if edge.hash not in incoming:
                incoming[edge.hash] = 0
                queue.append(spec.nodes[edge.hash])
            incoming[edge.hash] += 1
    ordered: list[Node] = []
    queue = deque([spec.root])
    while queue:
        node = queue.popleft()
        ordered.append(node)
        for edge in node.runtime_edges():
            incoming[edge.hash] -= 1
            if incoming[edge.hash] == 0:
                queue.append(spec.nodes[edge.hash])
    if len(ordered) != len(incoming):
        raise FormatError(f"the dependencies of {spec.label} form a circle")
    return ordered


def _edges(node: Mapping[str, Any], name: str) -> Iterator[Edge]:
    dependencies = node.get("dependencies", [])
    if not isinstance(dependencies, list):
        raise FormatError(f"`dependencies` of {name} is not a list")
    for raw in dependencies:
        edge = _mapping(raw, f"dependency of {name}")
        other = _checked(edge.get("name"), _NAME, f"name of a dependency of {name}")
        # Format 5 nests deptypes and virtuals under `parameters`; format 4 has `type` beside the name.
        parameters = _mapping(edge.get("parameters", {}), f"`parameters` of a dependency of {name}")
        deptypes, virtuals = parameters.get("deptypes", edge.get("type", [])), parameters.get("virtuals", [])
        if not isinstance(deptypes, list) or not isinstance(virtuals, list):
            raise FormatError(f"the dependency of {name} on {other} has no lists of deptypes and virtuals")
        yield Edge(
            name=other,
            hash=check_hash(edge.get("hash"), other),
            deptypes=frozenset(map(str, deptypes)),
            virtuals=tuple(map(str, virtuals)),
        )


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not a JSON object")
    return value


def _checked(value: object, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise FormatError(f"bad {what}: {value!r}"[:300])
    return value


def _plain(value: object, what: str) -> str:
    return _checked(value, re.compile(r"[\w.+-]{0,64}", re.ASCII), what)

"""The catalog: everything the registry holds, as values. It can be thrown away and read anew from the tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.oci import Descriptor, check_tag
from cachelib.model.spec import ConcreteSpec, Node, check_hash, parse_node

#: Of the catalog's own format; a reader of another major version rebuilds it from the tags.
CATALOG_VERSION = 1
#: Past this many entries shards are cut by two characters of the DAG hash instead of one.
WIDE_SHARDS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One published spec. Sizes are in bytes; `layers` counts every layer of the image, the tarball is the last."""

    hash: str
    tag: str
    spec_format: int
    manifest: Descriptor
    tarball: Descriptor
    diff_id: Digest
    layer_count: int
    layers_size: int
    annotations: Mapping[str, str]
    nodes: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        return {
            "tag": self.tag,
            "specFormat": self.spec_format,
            "manifest": self.manifest.json(),
            "tarball": self.tarball.json(),
            "diffId": str(self.diff_id),
            "layerCount": self.layer_count,
            "layersSize": self.layers_size,
            "annotations": dict(sorted(self.annotations.items())),
            "nodes": list(self.nodes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All entries and all nodes of their DAGs, by DAG hash. `nodes` holds Spack's JSON, a node once."""

    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def tags(self) -> frozenset[str]:
        """The tags of all entries."""
        return frozenset(entry.tag for entry in self.entries.values())

    def node(self, dag_hash: str) -> Node:
        """The node of a DAG hash, parsed."""
        return parse_node(self.nodes[dag_hash])

    def spec(self, dag_hash: str) -> ConcreteSpec:
        """The whole concrete spec of an entry, put together from its nodes."""
        entry = self.entries[dag_hash]
        parsed = {h: self.node(h) for h in entry.nodes}
        if dag_hash not in parsed or any(edge.hash not in parsed for node in parsed.values() for edge in node.dependencies):
            raise FormatError(f"the catalog lacks nodes of {entry.tag}", hint="run `inv index --full`")
        return ConcreteSpec(root=parsed[dag_hash], nodes=parsed, format=entry.spec_format)


def merge(kept: Catalog, dropped: frozenset[str], added: Iterable[tuple[CatalogEntry, Mapping[str, Mapping[str, Any]]]]) -> Catalog:
    """The catalog without the entries of the dropped tags and with the added ones; nodes that nobody needs go.

    Where two entries bring different JSON for one DAG hash, the one of the smaller root hash stays: the result does
    not hang on the order in which entries arrived, so an incremental catalog equals one made from nothing.
    """
    entries = {h: entry for h, entry in kept.entries.items() if entry.tag not in dropped}
    brought: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for entry, nodes in added:
        entries[entry.hash] = entry
        brought[entry.hash] = nodes
    nodes_by_hash: dict[str, Mapping[str, Any]] = {}
    for h in sorted(entries):
        source = brought.get(h, kept.nodes)
        for node in entries[h].nodes:
            nodes_by_hash.setdefault(node, source[node])
    return Catalog(entries=dict(sorted(entries.items())), nodes=dict(sorted(nodes_by_hash.items())))


def shard_key(dag_hash: str, count: int) -> str:
    """Which shard a hash lies in, in a catalog of `count` entries."""
    return dag_hash[: 2 if count > WIDE_SHARDS else 1]


def to_shards(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Cut the catalog into JSON objects by hash prefix; the same catalog always gives the same objects."""
    shards: dict[str, dict[str, Any]] = {}
    count = len(catalog.entries)
    for kind, items in (
        ("entries", ((h, entry.json()) for h, entry in catalog.entries.items())),
        ("nodes", catalog.nodes.items()),
    ):
        for h, value in sorted(items):
            key = shard_key(h, count)
            shard = shards.setdefault(key, {"meta": {"version": CATALOG_VERSION, "shard": key}, "entries": {}, "nodes": {}})
            shard[kind][h] = value
    return dict(sorted(shards.items()))


def from_shards(shards: Iterable[Mapping[str, Any]]) -> Catalog:
    """Put the catalog together again; raise FormatError where a shard is malformed or of another version."""
    entries: dict[str, CatalogEntry] = {}
    nodes: dict[str, Mapping[str, Any]] = {}
    for shard in shards:
        try:
            if shard["meta"]["version"] != CATALOG_VERSION:
                raise FormatError(f"a catalog of version {shard['meta']['version']!r}; this program reads {CATALOG_VERSION}")
            entries |= {h: _entry(h, raw) for h, raw in shard["entries"].items()}
            nodes |= shard["nodes"]
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise FormatError(f"a shard of the catalog is malformed: {error!r}") from None
    for entry in entries.values():
        if missing := [h for h in (entry.hash, *entry.nodes) if h not in nodes]:
            raise FormatError(f"the catalog names {entry.tag} but not its node {missing[0]}")
    return Catalog(entries=dict(sorted(entries.items())), nodes=dict(sorted(nodes.items())))


def _entry(dag_hash: str, raw: Mapping[str, Any]) -> CatalogEntry:
    return CatalogEntry(
        hash=check_hash(dag_hash, "a catalog entry"),
        tag=check_tag(raw["tag"]),
        spec_format=int(raw["specFormat"]),
        manifest=Descriptor.parse(raw["manifest"]),
        tarball=Descriptor.parse(raw["tarball"]),
        diff_id=Digest.parse(raw["diffId"]),
        layer_count=int(raw["layerCount"]),
        layers_size=int(raw["layersSize"]),
        annotations={str(k): str(v) for k, v in raw["annotations"].items()},
        nodes=tuple(map(str, raw["nodes"])),
    )

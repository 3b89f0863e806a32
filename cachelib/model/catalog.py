"""The catalog: everything the registry holds, as values. It can be thrown away and read anew from the tags.

It is cut into shards by DAG hash, and each shard is known by the tags it tells of: who compares those with the tags of
the registry knows which shards to read, and reads no other.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.database import Database
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.oci import Descriptor, check_size, check_tag
from cachelib.model.spec import ConcreteSpec, Node, check_hash, parse_node

#: Of the catalog's own format; a reader of another major version rebuilds it from the tags.
CATALOG_VERSION = 2
#: Past this many entries shards are cut by two characters of the DAG hash instead of one.
WIDE_SHARDS = 4096
#: The spec format that Spack's database of version 8 holds; older specs can be installed by hash, but not be listed.
INDEXED_FORMAT = 5


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
    #: It is being pushed anew: what is told here may no longer hold, and is to be read again.
    stale: bool = False

    @property
    def indexed(self) -> bool:
        """Whether Spack's index can hold it."""
        return self.spec_format == INDEXED_FORMAT

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
            **({"stale": True} if self.stale else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All entries by DAG hash, and the nodes of their DAGs: `database` is Spack's index, `older` holds what that can't."""

    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    database: Database = field(default_factory=Database)
    older: Database = field(default_factory=Database)
    _parsed: dict[tuple[str, bool], Node] = field(default_factory=dict, repr=False, compare=False)
    _sorted: list[tuple[str, str]] = field(default_factory=list, init=False, repr=False, compare=False)

    def tags(self) -> frozenset[str]:
        """The tags of all entries."""
        return frozenset(entry.tag for entry in self.entries.values())

    def spec(self, dag_hash: str) -> ConcreteSpec:
        """The whole concrete spec of an entry, put together from its nodes, in the order of Spack's own traversal."""
        entry, nodes = self.entries[dag_hash], dict[str, Node]()
        waiting = [dag_hash]
        try:
            while waiting:
                h = waiting.pop()
                if h in nodes:
                    continue
                nodes[h] = self._node(h, indexed=entry.indexed)
                waiting += [edge.hash for edge in sorted(nodes[h].dependencies, key=lambda e: (e.name, e.hash), reverse=True)]
        except KeyError as error:
            raise FormatError(f"the catalog names {entry.tag} but not its node {error}", hint="run `inv index --full`") from None
        return ConcreteSpec(root=nodes[dag_hash], nodes=nodes, format=entry.spec_format)

    def name(self, dag_hash: str) -> str:
        """The name of an entry's package; empty where the catalog lacks its node."""
        try:
            return self._node(dag_hash, indexed=self.entries[dag_hash].indexed).name
        except KeyError:
            return ""

    def named(self, name: str) -> list[str]:
        """The builds of a package. Tags begin with names (or 64 characters of them), so that of most entries no node is read."""
        if not self._sorted:
            self._sorted.extend(sorted((entry.tag, h) for h, entry in self.entries.items()))
        begins = f"{name}-"[:64]
        start = bisect.bisect_left(self._sorted, (begins, ""))
        like = itertools.takewhile(lambda one: one[0].startswith(begins), itertools.islice(self._sorted, start, None))
        return sorted({h for _, h in like if self.name(h) == name})

    def _node(self, dag_hash: str, *, indexed: bool) -> Node:
        # DAGs share most of their nodes: each is parsed once.
        if (found := self._parsed.get((dag_hash, indexed))) is None:
            found = parse_node((self.database if indexed else self.older).node(dag_hash))
            self._parsed[dag_hash, indexed] = found
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPart:
    """A shard as the catalog's manifest knows it: where it lies, the digest of the tags it tells of, and their number."""

    blob: Descriptor
    tags: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRoot:
    """The catalog's manifest: its shards by key, and the two databases beside them."""

    shards: Mapping[str, ShardPart]
    database: Descriptor
    older: Descriptor
    mixed: bool
    labels: Mapping[str, str]

    @property
    def count(self) -> int:
        """How many entries there are."""
        return sum(part.count for part in self.shards.values())


def shard_width(count: int) -> int:
    """How many characters of a DAG hash name the shard, in a catalog of `count` entries."""
    return 2 if count > WIDE_SHARDS else 1


def by_shard(tags: Iterable[str], width: int) -> dict[str, list[str]]:
    """The tags of specs by the shard that they belong to, sorted."""
    groups: dict[str, list[str]] = {}
    for tag in sorted(tags):
        # Spack, oci/image.py: a tag ends in the DAG hash and `.spack`, however long the name before it was.
        groups.setdefault(tag.removesuffix(".spack")[-32:][:width], []).append(tag)
    return groups


def tags_digest(tags: Iterable[str]) -> str:
    """What tells one set of tags from another."""
    return str(Digest.of("\n".join(sorted(tags)).encode()))


def to_shards(entries: Iterable[CatalogEntry], width: int) -> dict[str, bytes]:
    """Cut entries into shards, as JSON one entry a line; the same entries always give the same bytes."""
    groups: dict[str, list[CatalogEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.hash):
        groups.setdefault(entry.hash[:width], []).append(entry)
    return {key: _shard(key, group) for key, group in sorted(groups.items())}


def _shard(key: str, group: list[CatalogEntry]) -> bytes:
    lines = ",\n".join(f"{json.dumps(entry.hash)}:{json.dumps(entry.json(), separators=(',', ':'))}" for entry in group)
    head = json.dumps({"version": CATALOG_VERSION, "shard": key})
    return f'{{"meta":{head},"entries":{{\n{lines}\n}}}}\n'.encode()


def from_shard(shard: Mapping[str, Any]) -> dict[str, CatalogEntry]:
    """Read the entries of a shard; raise FormatError where it is malformed or of another version."""
    try:
        if shard["meta"]["version"] != CATALOG_VERSION:
            raise FormatError(f"a catalog of version {shard['meta']['version']!r}; this program reads {CATALOG_VERSION}")
        return {h: _entry(h, raw) for h, raw in shard["entries"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise FormatError(f"a shard of the catalog is malformed: {error!r}") from None


def _entry(dag_hash: str, raw: Mapping[str, Any]) -> CatalogEntry:
    return CatalogEntry(
        hash=check_hash(dag_hash, "a catalog entry"),
        tag=check_tag(raw["tag"]),
        spec_format=check_size(raw["specFormat"]),
        manifest=Descriptor.parse(raw["manifest"]),
        tarball=Descriptor.parse(raw["tarball"]),
        diff_id=Digest.parse(raw["diffId"]),
        layer_count=check_size(raw["layerCount"]),
        layers_size=check_size(raw["layersSize"]),
        annotations={str(k): str(v) for k, v in raw["annotations"].items()},
        stale=raw.get("stale") is True,
    )

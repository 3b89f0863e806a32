"""Catalogs of any size, made of a real lock file: its DAGs again and again, each time with other versions, targets and times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cachelib.model.catalog import Catalog, CatalogEntry, CatalogRoot, by_shard, shard_width, tags_digest, to_shards
from cachelib.model.database import Database
from cachelib.model.digest import Digest
from cachelib.model.entry import DATABASE
from cachelib.model.graph import read_graph
from cachelib.model.licenses import BY_RECIPE
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, LAYER_GZIP, MANIFEST, Descriptor, spec_tag
from cachelib.model.ports import Repository
from cachelib.model.spec import dag_hash, format_node
from cachelib.model.wanted import Wanted, WantedSpec
from cachelib.steps import artifacts
from cachelib.steps.image import PREFIX

LOCK = Path(__file__).resolve().parents[1] / "data" / "spack.lock"
TARGETS = ("x86_64_v2", "x86_64_v3", "x86_64_v4", "neoverse_v1")
#: Builds of one package, on average, a public cache of Spack has about as many.
BUILDS_PER_PACKAGE = 11
_OCI = "org.opencontainers.image."


def made_catalog(count: int) -> Catalog:
    """So many published specs, and the nodes that they stand on; a larger catalog of as many packages begins like a smaller one."""
    order = _in_order(json.loads(LOCK.read_text(encoding="utf-8"))["concrete_specs"])
    built = sum("external" not in node for node in order)
    packages = max(1, count // (BUILDS_PER_PACKAGE * built))
    texts: dict[str, bytes] = {}
    counts: dict[str, int] = {}
    entries: dict[str, CatalogEntry] = {}
    for number in range(count // built + 1):
        for node in _copies(order, number, packages):
            if "external" not in node and len(entries) >= count:
                return _catalog(entries, texts, counts)
            if node["hash"] in texts:
                continue
            texts[node["hash"]] = json.dumps(node, separators=(",", ":")).encode()
            for edge in node.get("dependencies", ()):
                counts[edge["hash"]] = counts.get(edge["hash"], 0) + 1
            if "external" not in node:
                entries[node["hash"]] = _entry(node, len(entries))
    return _catalog(entries, texts, counts)


def _catalog(entries: dict[str, CatalogEntry], texts: dict[str, bytes], counts: dict[str, int]) -> Catalog:
    lines = {
        h: b'"%s":{"spec":%s,"ref_count":%d,"in_buildcache":%s}'
        % (h.encode(), text, counts.get(h, 0), b"true" if h in entries else b"false")
        for h, text in texts.items()
    }
    return Catalog(entries=dict(sorted(entries.items())), database=Database(lines=lines))


def _in_order(specs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of a lock file, each after all that it depends on."""
    found: dict[str, dict[str, Any]] = {}

    def visit(h: str) -> None:
        if h not in found:
            for edge in specs[h].get("dependencies", ()):
                visit(edge["hash"])
            found[h] = specs[h]

    for h in specs:
        visit(h)
    return list(found.values())


def _copies(order: list[dict[str, Any]], number: int, packages: int) -> Iterator[dict[str, Any]]:
    """The nodes once more, under other names and hashes; externals stay as they are."""
    family, turn = number % packages, number // packages
    target = TARGETS[turn % len(TARGETS)]
    names, hashes = dict[str, str](), dict[str, str]()
    for old in order:
        node = json.loads(json.dumps(old))
        if "external" not in node:
            node["name"] = f"{old['name']}-{family}" if family else old["name"]
            node["version"] = f"{old['version']}.{turn // len(TARGETS)}"
            node["arch"]["target"] = target
            for edge in node.get("dependencies", ()):
                edge["name"], edge["hash"] = names[edge["hash"]], hashes[edge["hash"]]
            node["hash"] = dag_hash(node)
        names[old["hash"]], hashes[old["hash"]] = node["name"], node["hash"]
        yield node


def _entry(node: dict[str, Any], number: int) -> CatalogEntry:
    h, size = node["hash"], 100_000 + sum(node["hash"].encode()) ** 2 % 50_000_000
    minutes = number // 3
    created = f"20{20 + minutes // 44640 // 12:02}-{minutes // 44640 % 12 + 1:02}-{minutes // 1440 % 28 + 1:02}T{minutes // 60 % 24:02}:{minutes % 60:02}:07Z"
    about = {
        "title": f"{node['name']}@{node['version']}", "version": node["version"],
        "description": f"{node['name']} is a library of the benchmark that does a thing which about as many words as this tell of.",
        "licenses": "Apache-2.0 OR MIT", "url": f"https://example.org/{node['name']}/",
        "documentation": f"https://packages.spack.io/package.html?name={node['name']}", "source": "https://github.com/owner/cache",
        "revision": "0123456789abcdef0123456789abcdef01234567", "created": created, "vendor": "Owner",
    }  # fmt: skip
    ours = {
        "dag-hash": h, "spec": format_node(node), "target": node["arch"]["target"], "os": node["arch"]["platform_os"], "platform": "linux",
        "compilers": "gcc@12.2.0", "libc": "glibc@2.36", "stack": "everything", "spack.version": "v1.1.0",
        "spack.commit": "2e907202bcc8209a6a62243aab50c179b524cc3b", "packages.version": "v2025.11.0",
        "packages.commit": "2e907202bcc8209a6a62243aab50c179b524cc3c", "maintainers": "alice,bob",
        "build.run": f"https://github.com/owner/cache/actions/runs/{1_000_000 + number // 50}", "build.seconds": f"{number % 977 + 0.5}",
    }  # fmt: skip
    return CatalogEntry(
        hash=h, tag=spec_tag(node["name"], node["version"], h), spec_format=5,
        manifest=Descriptor(media_type=MANIFEST, digest=Digest.of(f"m{h}".encode()), size=5000),
        tarball=Descriptor(media_type=LAYER_GZIP, digest=Digest.of(f"t{h}".encode()), size=size),
        diff_id=Digest.of(f"d{h}".encode()), layer_count=20, layers_size=size * 20,
        annotations={f"{_OCI}{key}": value for key, value in about.items()} | {PREFIX + key: value for key, value in ours.items()},
    )  # fmt: skip


def publish_catalog(repository: Repository, catalog: Catalog) -> None:
    """Put a catalog into a repository, as an index run leaves it; the images that it tells of are not there."""
    width = shard_width(len(catalog.entries))
    by_key = by_shard((entry.tag for entry in catalog.entries.values()), width)
    parts = {key: (tags_digest(tags), len(tags)) for key, tags in by_key.items()}
    shards, blobs = artifacts.squeeze(to_shards(catalog.entries.values(), width), parts)
    found = []
    for kind, database in ((DATABASE, catalog.database), (artifacts.OLDER_TYPE, catalog.older)):
        data = database.data()
        found.append(artifacts.described(kind, data))
        blobs[found[-1].digest] = data
    root = CatalogRoot(shards=dict(sorted(shards.items())), database=found[0], older=found[1], mixed=False, labels={})
    artifacts.write_blobs(repository, root, blobs, None, check=True)
    artifacts.write_manifest(repository, INDEX_TAG, artifacts.index_manifest(root))
    artifacts.write_manifest(repository, CATALOG_TAG, artifacts.catalog_manifest(root))


def made_wanted(catalog: Catalog, failing: str = "", requests: int = 40) -> Wanted:
    """What a stack wants that such a catalog has in part: each state of a request occurs."""
    graph = read_graph(catalog.database)
    chosen = sorted(catalog.entries, key=lambda h: (graph.nodes[h].name, h))[: requests - 5]
    specs: dict[str, WantedSpec] = {}
    for h in {h for root in chosen for h in graph.closure(root)}:
        node = graph.nodes[h]
        runtime = set(node.runtime)
        takes = tuple(edge for edge in node.edges if edge not in runtime)
        specs[h] = WantedSpec(
            hash=h, name=node.name, version=node.version, target=node.target, needs=node.runtime, takes=takes, external=node.external
        )
    external = next(spec for spec in specs.values() if spec.external)
    more = [
        WantedSpec(hash="m" * 32, name="tomorrow", version="1.0", target="x86_64_v3"),
        WantedSpec(hash="p" * 32, name="application", version="2.0", target="x86_64_v3", needs=(chosen[0],), takes=("m" * 32,)),
        WantedSpec(hash=failing or "f" * 32, name="broken", version="0.1", target="x86_64_v3"),
        WantedSpec(hash="u" * 32, name="user", version="0.2", target="x86_64_v3", needs=(chosen[0], failing or "f" * 32)),
        WantedSpec(hash="r" * 32, name="licensed", version="9", target="x86_64_v3", restricted=BY_RECIPE),
    ]
    specs |= {spec.hash: spec for spec in more}
    roots = {h: f"{specs[h].name}@{specs[h].version}" for h in (*chosen, external.hash, *(spec.hash for spec in more))}
    return Wanted(
        stack="everything",
        runner="ubuntu-24.04",
        specs=specs,
        roots=roots,
        refused={"hdf5+nonsense": "No such variant 'nonsense' for hdf5"},
    )

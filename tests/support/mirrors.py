"""Mirrors made by rule, in Spack's own layout, for tests that need many entries or odd ones. Real ones come from Spack."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.database import Database, change
from cachelib.model.digest import Digest
from cachelib.model.entry import SPEC, TARBALL
from cachelib.model.oci import LAYER_GZIP, MANIFEST, Descriptor, compact_json, spec_tag
from cachelib.model.spec import dag_hash


def make_node(name: str, version: str = "1.0", dependencies: Sequence[Mapping[str, Any]] = (), **extra: Any) -> dict[str, Any]:
    """A node of spec format 5 whose DAG hash is right."""
    node: dict[str, Any] = {
        "name": name,
        "version": version,
        "arch": {"platform": "linux", "platform_os": "debian12", "target": "x86_64_v3"},
        "namespace": "builtin",
        "parameters": {"build_system": "generic", "shared": True, "cflags": []},
        "package_hash": "fake",
    }
    if dependencies:
        node["dependencies"] = [
            {"name": other["name"], "hash": other["hash"], "parameters": {"deptypes": ["build", "link"], "virtuals": []}}
            for other in dependencies
        ]
    node |= extra | {"annotations": {"original_specfile_version": 5}}
    return {**node, "hash": dag_hash(node)}


def make_tarball(prefix: str, files: Mapping[str, bytes], spec: bytes = b"{}") -> bytes:
    """A tarball as Spack makes it: the whole prefix as path, no times, no owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        folders = {prefix, f"{prefix}/.spack", *(f"{prefix}/{path}".rpartition("/")[0] for path in files)}
        for folder in sorted(folders):
            info = tarfile.TarInfo(folder.strip("/"))
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for path, data in [(".spack/spec.json", spec), *files.items()]:
            info = tarfile.TarInfo(f"{prefix}/{path}".strip("/"))
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


def add_entry(root: Path, nodes: Sequence[Mapping[str, Any]], files: Mapping[str, bytes] | None = None, tarball: bytes = b"") -> Path:
    """Write an entry for `nodes[0]` into a mirror; return the path of its manifest."""
    node = nodes[0]
    prefix = f"/opt/cache/{node['name']}-{node['version']}-{node['hash']}"
    tarball = tarball or make_tarball(prefix, files or {f"bin/{node['name']}": b"#!/bin/sh\n"})
    spec = {"spec": {"_meta": {"version": 5}, "nodes": list(nodes)}, "buildcache_layout_version": 2}
    blobs = [(TARBALL, tarball), (SPEC, gzip.compress(json.dumps(spec).encode(), mtime=0))]
    records = []
    for media_type, data in blobs:
        digest = Digest.of(data)
        path = root / "blobs" / "sha256" / digest.hex[:2] / digest.hex
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        records.append(
            {
                "contentLength": len(data),
                "mediaType": media_type,
                "compression": "gzip",
                "checksumAlgorithm": "sha256",
                "checksum": digest.hex,
            }
        )
    name = f"{node['name']}-{str(node['version']).replace('/', '_')}-{node['hash']}.spec.manifest.json"
    path = root / "v3" / "manifests" / "spec" / str(node["name"]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 3, "data": records}, indent=0), encoding="utf-8")
    return path


def add_chain(root: Path, length: int) -> list[dict[str, Any]]:
    """A library, a library on it, ... and a program at the end; each an entry. Returns the nodes, the first library first."""
    made: list[dict[str, Any]] = []
    for at in range(length):
        node = make_node(f"part{at}", dependencies=made[-1:])
        add_entry(root, [node, *reversed(made)], {f"bin/part{at}": b"x" * (at + 1)})
        made.append(node)
    return made


def make_catalog(*dags: Sequence[dict[str, Any]], older: Sequence[dict[str, Any]] = (), **about: Any) -> Catalog:
    """A catalog of specs, each given as its nodes, root first; `older` is one of format 4. `about` goes into every entry."""
    entries: dict[str, CatalogEntry] = {}
    databases = []
    for group, spec_format in ((dags, 5), ([older] if older else [], 4)):
        for nodes in group:
            root = nodes[0]
            size = 1000 + sum(root["hash"].encode())
            entries[root["hash"]] = CatalogEntry(
                hash=root["hash"],
                tag=spec_tag(root["name"], root["version"], root["hash"]),
                spec_format=spec_format,
                manifest=Descriptor(media_type=MANIFEST, digest=Digest.of(f"m{root['hash']}".encode()), size=500),
                tarball=Descriptor(media_type=LAYER_GZIP, digest=Digest.of(f"t{root['hash']}".encode()), size=size),
                diff_id=Digest.of(b"d"),
                layer_count=len(nodes),
                layers_size=size,
                annotations={},
            )
        brought = ((nodes[0]["hash"], {node["hash"]: compact_json(node) for node in nodes}) for nodes in group)
        databases.append(change(Database(), added=brought))
    entries = {h: replace(entry, **about) for h, entry in sorted(entries.items())}
    return Catalog(entries=entries, database=databases[0], older=databases[1])

"""Spack's index of a buildcache: the database JSON, version 8, and the files that carry it in a v3 mirror."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.entry import DATABASE, LAYOUT_VERSION, BlobRecord
from cachelib.model.oci import compact_json
from cachelib.model.spec import parse_node

DATABASE_VERSION = "8"


def database(nodes: Mapping[str, Mapping[str, Any]], in_buildcache: Iterable[str]) -> bytes:
    """Write the database as Spack's `update-index` does: every node of every DAG, and which of them are there.

    Sorted by DAG hash, so that equal contents are equal bytes (Spack writes in the order of its traversal).
    `ref_count` counts the dependents in the database (Spack, database.py, `_add`).
    """
    present = frozenset(in_buildcache)
    dependents = Counter(edge.hash for node in nodes.values() for edge in parse_node(node).dependencies)
    installs = {h: {"spec": nodes[h], "ref_count": dependents[h], "in_buildcache": h in present} for h in sorted(nodes)}
    return compact_json({"database": {"version": DATABASE_VERSION, "installs": installs}})


def index_files(data: bytes) -> tuple[tuple[PurePosixPath, bytes], ...]:
    """The files of a v3 mirror's index, in the order in which they must be written: the blob before what names it."""
    blob = BlobRecord(media_type=DATABASE, digest=Digest.of(data), size=len(data), compression="none")
    manifest = {"version": LAYOUT_VERSION, "data": [blob.json()]}
    return (
        (PurePosixPath("blobs/sha256", blob.digest.hex[:2], blob.digest.hex), data),
        (PurePosixPath("v3/layout.json"), json.dumps({"signing": "gpg"}).encode()),
        # One token a line, as Spack writes it: gpg cuts longer lines.
        (PurePosixPath("v3/manifests/index/index.manifest.json"), json.dumps(manifest, indent=0, separators=(",", ":")).encode()),
    )

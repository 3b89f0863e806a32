"""Marks what is being pushed anew, so that the next index run reads it again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from cachelib.model.catalog import by_shard, shard_width, to_shards
from cachelib.model.oci import CATALOG_TAG
from cachelib.model.ports import Repository
from cachelib.steps import artifacts


def mark_stale(repository: Repository, tags: frozenset[str], *, jobs: int) -> None:
    """Have the next index run read tags again that are about to be pushed anew; until then they stay in the index."""
    held = artifacts.read_root(repository)
    if held is None:
        return
    groups = by_shard(tags, shard_width(held.root.count))
    keys = groups.keys() & held.root.shards.keys()
    entries = artifacts.read_shards(repository, held.root, keys, jobs=jobs)
    marked = [replace(entry, stale=entry.stale or entry.tag in tags) for entry in entries.values()]
    counts = Counter(entry.hash[: shard_width(held.root.count)] for entry in marked)
    shards, blobs = artifacts.squeeze(
        to_shards(marked, shard_width(held.root.count)), {key: ("stale", count) for key, count in counts.items()}
    )
    root = replace(held.root, shards={**held.root.shards, **shards})
    artifacts.write_blobs(repository, root, blobs, held.root, check=False)
    artifacts.write_manifest(repository, CATALOG_TAG, artifacts.catalog_manifest(root))

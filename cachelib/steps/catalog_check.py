"""Holds catalog and Spack index against the images that they tell of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cachelib.model.catalog import CatalogEntry, CatalogRoot, tags_digest
from cachelib.model.database import Database, change
from cachelib.model.errors import CacheError
from cachelib.model.finding import Finding
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, ImageManifest
from cachelib.model.ports import Repository
from cachelib.steps import artifacts

_INDEX, _FULL = "run `inv index`", "run `inv index --full`"
#: By tag, the images that were read: what the catalog should tell of each, and the nodes of its DAG by DAG hash.
Images = Mapping[str, tuple[CatalogEntry, Sequence[tuple[str, bytes]]]]


def check_catalog(repository: Repository, tags: Sequence[str], images: Images, *, complete: bool) -> Iterator[Finding]:
    """What is wrong with catalog and index; `images` are those that were read and are whole, `complete` says they are all."""
    try:
        held = artifacts.read_root(repository)
        if held is None:
            yield _finding("catalog", f"it is missing: nothing tells of {len(tags)} images", _INDEX)
            return
        _read_config(repository, CATALOG_TAG)
        told, listed, wrong = _shards(repository, held.root, images)
        database = artifacts.read_database(repository, held.root.database, mixed=held.root.mixed)
        older = artifacts.read_database(repository, held.root.older, mixed=held.root.mixed)
    except CacheError as error:
        yield _finding("catalog", error.message, _FULL)
        return
    yield from wrong
    for tag in sorted(images.keys() - told):
        yield _finding("catalog", f"it lacks {tag}", _INDEX)
    for tag in sorted(told - set(tags)):
        yield _finding("catalog", f"it names {tag}, which is not there", _INDEX)
    if complete:
        yield from _nodes(database, older, images, mixed=held.root.mixed)
    elif database.present() != listed:
        yield _finding("catalog", "its nodes are not those of its entries", _FULL)
    yield from check_index(repository, held.root)


def _finding(where: str, problem: str, remedy: str) -> Finding:
    return Finding(where=where, problem=problem, remedy=remedy, mendable=True)


def _shards(repository: Repository, root: CatalogRoot, images: Images) -> tuple[set[str], set[str], list[Finding]]:
    """The tags that the catalog tells of, the DAG hashes that Spack's index should have, and what is wrong; a shard at a time."""
    told: set[str] = set()
    listed: set[str] = set()
    wrong = []
    for key, part in root.shards.items():
        entries = artifacts.read_shards(repository, root, [key], jobs=1)
        stale = any(entry.stale for entry in entries.values())
        right = (tags_digest(entry.tag for entry in entries.values()), len(entries))
        if ((part.tags, part.count) != right and not stale) or not all(h.startswith(key) for h in entries):
            wrong.append(_finding("catalog", f"shard {key} does not hold what its manifest says", _FULL))
        for h, entry in entries.items():
            told.add(entry.tag)
            if entry.indexed:
                listed.add(h)
            if entry.tag in images and replace(entry, stale=False) != images[entry.tag][0]:
                wrong.append(_finding("catalog", f"it tells other things of {entry.tag} than its image", _FULL))
    return told, listed, wrong


def _nodes(database: Database, older: Database, images: Images, *, mixed: bool) -> Iterator[Finding]:
    for name, held, indexed in (("Spack's index", database, True), ("the nodes of older formats", older, False)):
        made = change(Database(mixed=mixed), added=((e.hash, dict(nodes)) for e, nodes in images.values() if e.indexed is indexed))
        if made.lines != held.lines:
            yield _finding("catalog", f"{name} is not made of the images that are there", _FULL)


def check_index(repository: Repository, root: CatalogRoot) -> Iterator[Finding]:
    """What is wrong with Spack's index, held against the catalog's manifest."""
    try:
        manifest = _read_config(repository, INDEX_TAG)
        if manifest is None:
            yield _finding(INDEX_TAG, "it is missing", _INDEX)
        elif (manifest.layers[0].digest, manifest.layers[0].size) != (root.database.digest, root.database.size):
            yield _finding(INDEX_TAG, "it does not say what the catalog says", _INDEX)
    except (CacheError, LookupError) as error:
        yield _finding(INDEX_TAG, str(error), _FULL)


def _read_config(repository: Repository, tag: str) -> ImageManifest | None:
    """The manifest of one of our own artifacts, its config read too, so that nothing of it stays unread."""
    raw = repository.manifest(tag)
    if raw is None:
        return None
    manifest = ImageManifest.parse(raw)
    repository.read_blob(manifest.config)
    return manifest

"""Keeps the catalog and Spack's index in a repository: two artifacts that share the blob with all the nodes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO

from cachelib.model.catalog import Catalog, CatalogEntry, CatalogRoot, ShardPart, from_shard
from cachelib.model.database import DATABASE_LIMIT, Database, parse_database
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, CatalogError, FormatError, RegistryError
from cachelib.model.oci import (
    CATALOG_TAG,
    CONFIG,
    EMPTY,
    INDEX_TAG,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    ImageManifest,
    RawManifest,
    parse_json,
)
from cachelib.model.ports import Repository
from cachelib.steps.inflating import inflated
from cachelib.steps.parallel import in_order, workers

CATALOG_TYPE = "application/vnd.spack-build-cache.catalog.v2+json"
SHARD_TYPE = "application/vnd.spack-build-cache.catalog.shard.v2+json+gzip"
OLDER_TYPE = "application/vnd.spack-build-cache.nodes.v1+json"
_PREFIX = "io.github.spack-build-cache."
_SHARD, _TAGS, _COUNT, _MIXED = (_PREFIX + word for word in ("shard", "tags", "entries", "mixed"))
#: A shard of the catalog inflates to no more than this (bytes): 16 times what a thousandth of a million builds needs.
SHARD_LIMIT = 256 * 1024 * 1024
_FULL = "run `inv index --full`"
_NOTHING = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a repository holds of the catalog: its manifest as bytes, and what that says."""

    raw: RawManifest
    root: CatalogRoot


def read_root(repository: Repository) -> Held | None:
    """The catalog's manifest, or nothing where there is none; raise CacheError where it is damaged or another program's."""
    try:
        raw = repository.manifest(CATALOG_TAG)
    except RegistryError as error:
        raise _unless_passing(error) from None
    if raw is None:
        return None
    manifest = ImageManifest.parse(raw)
    if manifest.artifact_type != CATALOG_TYPE:
        raise CatalogError(f"{repository.name}:{CATALOG_TAG} is not a catalog of this version", hint=_FULL)
    try:
        database, older, *shards = manifest.layers
        root = CatalogRoot(
            shards={layer.annotations[_SHARD]: _part(layer) for layer in shards},
            database=database,
            older=older,
            mixed=_MIXED in manifest.annotations,
            labels={key: value for key, value in manifest.annotations.items() if key != _MIXED},
        )
    except (KeyError, ValueError) as error:
        raise CatalogError(f"{repository.name}:{CATALOG_TAG} is malformed: {error!r}", hint=_FULL) from None
    return Held(raw=raw, root=root)


def _part(layer: Descriptor) -> ShardPart:
    return ShardPart(blob=layer, tags=layer.annotations[_TAGS], count=int(layer.annotations[_COUNT]))


def load_catalog(repository: Repository, *, jobs: int = 8) -> Catalog:
    """The whole catalog as it was last written, an empty one where there is none; raise CacheError where it is damaged."""
    held = read_root(repository)
    if held is None:
        return Catalog()
    return Catalog(
        entries=dict(sorted(read_shards(repository, held.root, held.root.shards, jobs=jobs).items())),
        database=read_database(repository, held.root.database, mixed=held.root.mixed),
        older=read_database(repository, held.root.older, mixed=held.root.mixed),
    )


def read_shards(repository: Repository, root: CatalogRoot, keys: Iterable[str], *, jobs: int) -> dict[str, CatalogEntry]:
    """The entries of some shards, by DAG hash."""
    entries: dict[str, CatalogEntry] = {}
    with workers(jobs) as pool:
        blobs = [root.shards[key].blob for key in sorted(keys)]
        for _, future in in_order(pool, lambda blob: from_shard(parse_json(_inflated(repository, blob), "a shard of the catalog")), blobs):
            entries |= future.result()
    return entries


def read_database(repository: Repository, blob: Descriptor, *, mixed: bool = False) -> Database:
    """A database that the catalog names; raise CacheError where it is damaged."""
    return parse_database(_whole(repository, blob, DATABASE_LIMIT), mixed=mixed)


def _inflated(repository: Repository, blob: Descriptor) -> bytes:
    try:
        return inflated(_whole(repository, blob, SHARD_LIMIT), SHARD_LIMIT, "a shard of the catalog")
    except FormatError as error:
        raise CatalogError(error.message, hint=_FULL) from None


def _whole(repository: Repository, blob: Descriptor, limit: int) -> bytes:
    try:
        return repository.read_blob(blob, limit)
    except RegistryError as error:
        raise _unless_passing(error) from None


def _unless_passing(error: RegistryError) -> CacheError:
    """The error itself where the registry is in trouble; where what it holds is damaged, one that says so."""
    if error.temporary or error.status not in (0, 404):
        return error
    return CatalogError(f"a part of the catalog can't be read: {error.message}", hint=_FULL)


def find_manifest(repository: Repository, tag: str) -> RawManifest | None:
    """The manifest of one of our artifacts; one that is damaged is none, and is to be replaced."""
    try:
        return repository.manifest(tag)
    except RegistryError as error:
        if isinstance(_unless_passing(error), CatalogError):
            return None
        raise


def squeeze(shards: Mapping[str, bytes], parts: Mapping[str, tuple[str, int]]) -> tuple[dict[str, ShardPart], dict[Digest, bytes]]:
    """Shards as they are stored, and the blobs to store; `parts` tells the digest of each one's tags, and their number."""
    made, blobs = {}, {}
    for key, text in shards.items():
        data = gzip.compress(text, mtime=0)
        tags, count = parts[key]
        blob = described(SHARD_TYPE, data, {_SHARD: key, _TAGS: tags, _COUNT: str(count)})
        made[key], blobs[blob.digest] = ShardPart(blob=blob, tags=tags, count=count), data
    return made, blobs


def described(media_type: str, data: bytes, annotations: Mapping[str, str] | None = None) -> Descriptor:
    """The descriptor of bytes."""
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data), annotations=annotations or {})


def catalog_manifest(root: CatalogRoot) -> RawManifest:
    """The catalog's manifest."""
    return ImageManifest(
        media_type=MANIFEST,
        config=described(EMPTY, _NOTHING),
        layers=(root.database, root.older, *(root.shards[key].blob for key in sorted(root.shards))),
        annotations={**root.labels, **({_MIXED: "true"} if root.mixed else {})},
        artifact_type=CATALOG_TYPE,
    ).raw()


def index_manifest(root: CatalogRoot) -> RawManifest:
    """Spack's index as Spack writes it: an image whose config is `{}` and whose only layer is the JSON, whatever its type says."""
    layer = Descriptor(media_type=LAYER_GZIP, digest=root.database.digest, size=root.database.size)
    return ImageManifest(media_type=MANIFEST, config=described(CONFIG, _NOTHING), layers=(layer,), annotations=root.labels).raw()


def write_blobs(
    repository: Repository, root: CatalogRoot, blobs: Mapping[Digest, bytes], before: CatalogRoot | None, *, check: bool
) -> bool:
    """Send the blobs that the catalog before did not have; return whether one had to be mended. `check` reads what is there."""
    known = {blob.digest for blob in _blobs(before)} if before else set()
    mended = False
    for blob in (*_blobs(root), described(EMPTY, _NOTHING)):
        data = blobs.get(blob.digest, _NOTHING)
        bad = check and not _readable(repository, blob)
        if bad or blob.digest not in known:
            sent = repository.put_blob(blob, _opener(data), replace=bad)
            mended = mended or (bad and bool(sent))
    return mended


def write_manifest(repository: Repository, tag: str, manifest: RawManifest) -> bool:
    """Put one of the two manifests, unless it is there already."""
    present = find_manifest(repository, tag)
    if present is not None and present.data == manifest.data:
        return False
    repository.put_manifest(manifest, tag)
    if tag in repository.flush():
        raise RegistryError(f"{repository.name}: a part of {tag} was swept away meanwhile", hint="run the same command again")
    return True


def is_written(repository: Repository, root: CatalogRoot) -> bool:
    """Whether catalog and Spack index are there as `root` says: another indexer may have written after us."""
    held = ((CATALOG_TAG, catalog_manifest(root)), (INDEX_TAG, index_manifest(root)))
    found = ((find_manifest(repository, tag), manifest) for tag, manifest in held)
    return all(present is not None and present.data == manifest.data for present, manifest in found)


def _blobs(root: CatalogRoot) -> tuple[Descriptor, ...]:
    return root.database, root.older, *(part.blob for part in root.shards.values())


def _readable(repository: Repository, blob: Descriptor) -> bool:
    try:
        return bool(repository.read_blob(blob, DATABASE_LIMIT)) or blob.size == 0
    except (RegistryError, FormatError):
        return False


def _opener(data: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(data)

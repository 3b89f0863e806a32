"""Reads what a repository holds into a catalog, at the cost of what is new, and keeps catalog and Spack index there."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from cachelib.model.catalog import Catalog, CatalogEntry, from_shards, merge, to_shards
from cachelib.model.database import database
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
    compact_json,
    is_spec_tag,
    parse_json,
    spec_tag,
)
from cachelib.model.outcome import Warned
from cachelib.model.ports import Progress, Repository
from cachelib.model.spec import ConcreteSpec, parse_spec
from cachelib.steps.parallel import workers

CATALOG_TYPE = "application/vnd.spack-build-cache.catalog.v1+json"
SHARD_TYPE = "application/vnd.spack-build-cache.catalog.shard.v1+json+gzip"
_SHARD_ANNOTATION = "io.github.spack-build-cache.shard"
#: A shard of the catalog inflates to no more than this: 16 times what a thousandth of a million builds needs.
SHARD_LIMIT = 256 * 1024 * 1024
#: A config of more bytes than this is no spec's: the largest real ones are around 100 KB.
CONFIG_LIMIT = 16 * 1024 * 1024
#: The spec format that Spack's database of version 8 holds; older specs can be installed by hash, but not be listed.
_INDEXED_FORMAT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What an index run found: the catalog now, which tags came and went, and what was passed over."""

    catalog: Catalog
    added: tuple[str, ...]
    removed: tuple[str, ...]
    warnings: tuple[Warned, ...]
    written: bool = False

    def with_written(self, written: bool) -> Indexed:
        """The same, and whether anything in the repository changed."""
        return replace(self, written=written)


def load_catalog(repository: Repository) -> Catalog:
    """The catalog as it was last written, an empty one where there is none; raise CacheError where it is damaged."""
    raw = repository.manifest(CATALOG_TAG)
    if raw is None:
        return Catalog()
    manifest = ImageManifest.parse(raw)
    if manifest.artifact_type != CATALOG_TYPE:
        raise CatalogError(f"{repository.name}:{CATALOG_TAG} is not a catalog", hint="run `inv index --full`")
    return from_shards(parse_json(_read_shard(repository, layer), "a shard of the catalog") for layer in manifest.layers)


def _read_shard(repository: Repository, layer: Descriptor) -> bytes:
    try:
        data = repository.read_blob(layer)
    except RegistryError as error:
        if error.temporary or error.status not in (0, 404):
            raise
        raise CatalogError(f"a shard of the catalog can't be read: {error.message}", hint="run `inv index --full`") from None
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(SHARD_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"a shard of the catalog is no gzip: {error}", hint="run `inv index --full`") from None
    if len(text) > SHARD_LIMIT:
        raise CatalogError(f"a shard of the catalog inflates to more than {SHARD_LIMIT} bytes", hint="run `inv index --full`")
    return text


def read_tags(repository: Repository, known: Catalog, *, jobs: int, progress: Progress) -> Indexed:
    """Bring a catalog up to the tags: what is new is fetched, what is gone is dropped, what is broken is passed over."""
    listed = repository.tags()
    if CATALOG_TAG not in listed and repository.manifest(CATALOG_TAG) is not None:
        # Registries now and then answer 404 or a part for a list that is there. Believed, it would empty the cache.
        raise CatalogError(
            f"{repository.name}: the tag list lacks the catalog that is there, so it is not whole; nothing was changed",
            hint="run the same command again in a minute",
        )
    tags = {tag for tag in listed if is_spec_tag(tag)}
    new = sorted(tags - known.tags())
    gone = known.tags() - tags
    warnings: list[Warned] = []
    added: list[tuple[CatalogEntry, Mapping[str, Mapping[str, Any]]]] = []
    progress.start(f"index {repository.name}", len(new))
    with workers(jobs) as pool:
        for tag, future in [(tag, pool.submit(_read_tag, repository, tag)) for tag in new]:
            try:
                added.append(future.result())
                progress.advance(f"read {tag}")
            except CacheError as error:
                warnings.append(Warned(tag=tag, reason=error.message))
                progress.advance(f"passed over {tag}")
    progress.finish()
    catalog = merge(known, gone, added)
    warnings += [
        Warned(
            tag=entry.tag,
            reason=f"spec format {entry.spec_format} (Spack 0.23 and older) has no place in Spack's index; it installs by hash",
        )
        for entry, _ in added
        if entry.spec_format != _INDEXED_FORMAT
    ]
    return Indexed(catalog=catalog, added=tuple(entry.tag for entry, _ in added), removed=tuple(sorted(gone)), warnings=tuple(warnings))


def spack_index(catalog: Catalog) -> bytes:
    """Spack's database of a catalog: equal catalogs give equal bytes."""
    listed = [entry for entry in catalog.entries.values() if entry.spec_format == _INDEXED_FORMAT]
    nodes = {h: catalog.nodes[h] for entry in listed for h in entry.nodes}
    return database(nodes, (entry.hash for entry in listed))


def write_catalog(repository: Repository, catalog: Catalog, *, labels: Mapping[str, str], check: bool = False) -> bool:
    """Keep the catalog in the repository, shards first; return whether anything changed. `check` reads what is there."""
    blobs = []
    for key, shard in to_shards(catalog).items():
        data = gzip.compress(compact_json(shard), mtime=0)
        blobs.append((_descriptor(SHARD_TYPE, data, {_SHARD_ANNOTATION: key}), data))
    return _put(repository, CATALOG_TAG, EMPTY, blobs, CATALOG_TYPE, labels, check)


def write_spack_index(repository: Repository, data: bytes, *, labels: Mapping[str, str], check: bool = False) -> bool:
    """Keep Spack's index where stock Spack looks for it; return whether it changed. `check` reads what is there.

    As Spack writes it: an image whose config is `{}` and whose only layer is the JSON itself, whatever its type says.
    """
    return _put(repository, INDEX_TAG, CONFIG, [(_descriptor(LAYER_GZIP, data, {}), data)], "", labels, check)


def _descriptor(media_type: str, data: bytes, annotations: dict[str, str]) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data), annotations=annotations)


def _put(
    repository: Repository,
    tag: str,
    config_type: str,
    layers: Sequence[tuple[Descriptor, bytes]],
    artifact_type: str,
    labels: Mapping[str, str],
    check: bool,
) -> bool:
    """Put an artifact under a tag: what the last one under it has is there, so only what is new is sent."""
    config = _descriptor(config_type, b"{}", {})
    manifest = ImageManifest(
        media_type=MANIFEST,
        config=config,
        layers=tuple(descriptor for descriptor, _ in layers),
        annotations=labels,
        artifact_type=artifact_type,
    ).raw()
    present = repository.manifest(tag)
    known = _layers_of(present)
    mended = False
    for descriptor, data in [*layers, (config, b"{}")]:
        bad = check and not _readable(repository, descriptor)
        if bad or descriptor.digest not in known:
            repository.put_blob(descriptor, _opener(data), replace=bad)
            mended = mended or bad
    if present is not None and present.data == manifest.data:
        return mended
    repository.put_manifest(manifest, tag)
    repository.flush()
    return True


def _opener(data: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(data)


def _layers_of(raw: RawManifest | None) -> frozenset[Digest]:
    try:
        manifest = ImageManifest.parse(raw) if raw else None
    except FormatError:
        manifest = None
    return frozenset(blob.digest for blob in (*manifest.layers, manifest.config)) if manifest else frozenset()


def _readable(repository: Repository, descriptor: Descriptor) -> bool:
    try:
        return bool(repository.read_blob(descriptor)) or descriptor.size == 0
    except RegistryError:
        return False


def read_image_config(tag: str, config: Mapping[str, Any]) -> tuple[ConcreteSpec, tuple[Digest, ...]]:
    """The spec and the uncompressed digests of a spec's image; raise FormatError where it isn't what its tag says."""
    if "spec" not in config:
        raise FormatError("its config holds no spec: an image of something else")
    spec = parse_spec(config)
    root = spec.root
    if tag != spec_tag(root.name, root.version, root.hash):
        raise FormatError(f"it holds {root.label}, which is not what its tag says")
    spec.runtime_closure()  # raises where the dependencies form a circle
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise FormatError("its config names no layers")
    return spec, tuple(map(Digest.parse, diff_ids))


def _read_tag(repository: Repository, tag: str) -> tuple[CatalogEntry, Mapping[str, Mapping[str, Any]]]:
    """Read one image of a spec; raise FormatError or RegistryError saying why it is none."""
    raw = repository.manifest(tag)
    if raw is None:
        raise RegistryError("its manifest is missing", status=404)
    manifest = ImageManifest.parse(raw)
    if manifest.config.size > CONFIG_LIMIT or not manifest.layers:
        raise FormatError("its config is too large, or it has no layer: not the image of a spec")
    config = parse_json(repository.read_blob(manifest.config), "its config")
    spec, diff_ids = read_image_config(tag, config)
    if not diff_ids:
        raise FormatError("its config names no layers")
    return catalog_entry(tag, raw, manifest, spec, diff_ids), {h: node.raw for h, node in spec.nodes.items()}


def catalog_entry(tag: str, raw: RawManifest, manifest: ImageManifest, spec: ConcreteSpec, diff_ids: tuple[Digest, ...]) -> CatalogEntry:
    """What the catalog tells of an image."""
    return CatalogEntry(
        hash=spec.root.hash,
        tag=tag,
        spec_format=spec.format,
        manifest=raw.descriptor(),
        tarball=manifest.layers[-1],
        diff_id=diff_ids[-1],
        layer_count=len(manifest.layers),
        layers_size=sum(layer.size for layer in manifest.layers),
        annotations=manifest.annotations,
        nodes=tuple(spec.nodes),
    )

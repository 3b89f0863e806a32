"""Reads what a repository holds into a catalog, at the cost of what is new, and keeps catalog and Spack index there."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from cachelib.model.catalog import Catalog, CatalogEntry, from_shards, merge, to_shards
from cachelib.model.database import database
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, FormatError, RegistryError
from cachelib.model.oci import (
    CATALOG_TAG,
    CONFIG,
    EMPTY,
    INDEX_TAG,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    ImageManifest,
    compact_json,
    is_spec_tag,
    parse_json,
    spec_tag,
)
from cachelib.model.outcome import Warned
from cachelib.model.ports import Progress, Repository
from cachelib.model.spec import parse_spec

CATALOG_TYPE = "application/vnd.spack-build-cache.catalog.v1+json"
SHARD_TYPE = "application/vnd.spack-build-cache.catalog.shard.v1+json+gzip"
_SHARD_ANNOTATION = "io.github.spack-build-cache.shard"
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
    """The catalog as it was last written; raise CatalogError's kin where it is damaged, an empty one where there is none."""
    raw = repository.manifest(CATALOG_TAG)
    if raw is None:
        return Catalog()
    manifest = ImageManifest.parse(raw)
    if manifest.artifact_type != CATALOG_TYPE:
        raise FormatError(f"{repository.name}:{CATALOG_TAG} is not a catalog", hint="run `inv index --full`")
    return from_shards(parse_json(gzip.decompress(repository.read_blob(layer)), "a shard of the catalog") for layer in manifest.layers)


def read_tags(repository: Repository, known: Catalog, *, jobs: int, progress: Progress) -> Indexed:
    """Bring a catalog up to the tags: what is new is fetched, what is gone is dropped, what is broken is passed over."""
    tags = {tag for tag in repository.tags() if is_spec_tag(tag)}
    new = sorted(tags - known.tags())
    gone = known.tags() - tags
    warnings: list[Warned] = []
    added: list[tuple[CatalogEntry, Mapping[str, Mapping[str, Any]]]] = []
    progress.start(f"index {repository.name}", len(new))
    with ThreadPoolExecutor(max_workers=jobs) as pool:
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


def write_catalog(repository: Repository, catalog: Catalog) -> bool:
    """Keep the catalog in the repository, shards first; return whether anything changed."""
    layers = []
    for key, shard in to_shards(catalog).items():
        data = gzip.compress(compact_json(shard), mtime=0)
        layer = Descriptor(media_type=SHARD_TYPE, digest=Digest.of(data), size=len(data), annotations={_SHARD_ANNOTATION: key})
        repository.put_blob(layer, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        layers.append(layer)
    return _put(repository, CATALOG_TAG, b"{}", EMPTY, tuple(layers), CATALOG_TYPE)


def write_spack_index(repository: Repository, data: bytes) -> bool:
    """Keep Spack's index where stock Spack looks for it; return whether it changed.

    As Spack writes it: an image whose config is `{}` and whose only layer is the JSON itself, whatever its type says.
    """
    layer = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(data), size=len(data))
    repository.put_blob(layer, lambda: io.BytesIO(data))
    return _put(repository, INDEX_TAG, b"{}", CONFIG, (layer,), "")


def _put(repository: Repository, tag: str, config: bytes, config_type: str, layers: tuple[Descriptor, ...], artifact_type: str) -> bool:
    descriptor = Descriptor(media_type=config_type, digest=Digest.of(config), size=len(config))
    manifest = ImageManifest(media_type=MANIFEST, config=descriptor, layers=layers, annotations={}, artifact_type=artifact_type).raw()
    present = repository.manifest(tag)
    if present is not None and present.data == manifest.data:
        return False
    repository.put_blob(descriptor, lambda: io.BytesIO(config))
    repository.put_manifest(manifest, tag)
    repository.flush()
    return True


def _read_tag(repository: Repository, tag: str) -> tuple[CatalogEntry, Mapping[str, Mapping[str, Any]]]:
    """Read one image of a spec; raise FormatError or RegistryError saying why it is none."""
    raw = repository.manifest(tag)
    if raw is None:
        raise RegistryError("its manifest is missing", status=404)
    manifest = ImageManifest.parse(raw)
    if manifest.config.size > CONFIG_LIMIT or not manifest.layers:
        raise FormatError("its config is too large, or it has no layer: not the image of a spec")
    config = parse_json(repository.read_blob(manifest.config), "its config")
    if "spec" not in config:
        raise FormatError("its config holds no spec: an image of something else")
    spec = parse_spec(config)
    root = spec.root
    if tag != spec_tag(root.name, root.version, root.hash):
        raise FormatError(f"it holds {root.label}, which is not what its tag says")
    try:
        diff_id = Digest.parse(config["rootfs"]["diff_ids"][-1])
    except (LookupError, TypeError):
        raise FormatError("its config names no layers") from None
    entry = CatalogEntry(
        hash=root.hash,
        tag=tag,
        spec_format=spec.format,
        manifest=raw.descriptor(),
        tarball=manifest.layers[-1],
        diff_id=diff_id,
        layer_count=len(manifest.layers),
        layers_size=sum(layer.size for layer in manifest.layers),
        annotations=manifest.annotations,
        nodes=tuple(spec.nodes),
    )
    return entry, {h: node.raw for h, node in spec.nodes.items()}

"""Reads the image of one spec, and holds it against its tag."""

from __future__ import annotations

from collections.abc import Mapping

from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import ImageManifest, RawManifest, parse_json, spec_tag
from cachelib.model.ports import Repository
from cachelib.model.spec import ConcreteSpec, NodePool, parse_spec

#: A config of more bytes than this is no spec's: the largest real ones are around 100 KB.
CONFIG_LIMIT = 16 * 1024 * 1024


def read_image_config(tag: str, config: Mapping[str, object], pool: NodePool | None = None) -> tuple[ConcreteSpec, tuple[Digest, ...]]:
    """The spec and the uncompressed digests of a spec's image; raise FormatError where it isn't what its tag says."""
    if "spec" not in config:
        raise FormatError("its config holds no spec: an image of something else")
    spec = parse_spec(config, pool)
    root = spec.root
    if tag != spec_tag(root.name, root.version, root.hash):
        raise FormatError(f"it holds {root.label}, which is not what its tag says")
    spec.runtime_closure()  # raises where the dependencies form a circle
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise FormatError("its config names no layers")
    return spec, tuple(map(Digest.parse, diff_ids))


def read_tag(repository: Repository, tag: str, pool: NodePool | None = None) -> tuple[CatalogEntry, Mapping[str, bytes]]:
    """Read one image of a spec, and the nodes of its DAG; raise FormatError or RegistryError saying why it is none."""
    raw = repository.manifest(tag)
    if raw is None:
        raise RegistryError("its manifest is missing", status=404)
    return read_image(repository, tag, raw, pool)


def read_image(
    repository: Repository, tag: str, raw: RawManifest, pool: NodePool | None = None
) -> tuple[CatalogEntry, Mapping[str, bytes]]:
    """The same, of a manifest that is at hand."""
    manifest = ImageManifest.parse(raw)
    if manifest.config.size > CONFIG_LIMIT or not manifest.layers:
        raise FormatError("its config is too large, or it has no layer: not the image of a spec")
    config = parse_json(repository.read_blob(manifest.config), "its config")
    spec, diff_ids = read_image_config(tag, config, pool)
    if not diff_ids:
        raise FormatError("its config names no layers")
    return catalog_entry(tag, raw, manifest, spec, diff_ids), spec.lines()


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
    )

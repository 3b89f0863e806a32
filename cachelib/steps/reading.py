"""Reads the image of one spec, and holds it against its tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import Descriptor, ImageManifest, RawManifest, parse_json, spec_tag
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The image of a spec, read and held against its tag; its layers are not read."""

    raw: RawManifest
    manifest: ImageManifest
    config: Mapping[str, Any]
    spec: ConcreteSpec
    diff_ids: tuple[Digest, ...]

    @property
    def tarball(self) -> Descriptor:
        """The spec's own layer, which is the last."""
        return self.manifest.layers[-1]


def open_image(repository: Repository, tag: str, *, pool: NodePool | None = None, raw: RawManifest | None = None) -> Image:
    """Read the image of a tag (or `raw`, its manifest); raise FormatError or RegistryError saying why it is no spec's."""
    raw = raw or repository.manifest(tag)
    if raw is None:
        raise RegistryError("its manifest is missing", status=404)
    manifest = ImageManifest.parse(raw)
    if manifest.config.size > CONFIG_LIMIT or not manifest.layers:
        raise FormatError("its config is too large, or it has no layer: not the image of a spec")
    config = parse_json(repository.read_blob(manifest.config), "its config")
    spec, diff_ids = read_image_config(tag, config, pool)
    if not diff_ids:
        raise FormatError("its config names no layers")
    return Image(raw=raw, manifest=manifest, config=config, spec=spec, diff_ids=diff_ids)


def read_tag(
    repository: Repository, tag: str, pool: NodePool | None = None, raw: RawManifest | None = None
) -> tuple[CatalogEntry, Mapping[str, bytes]]:
    """What the catalog tells of a tag's image, and the nodes of its DAG; raise as `open_image` does."""
    image = open_image(repository, tag, pool=pool, raw=raw)
    return catalog_entry(tag, image), image.spec.lines()


def catalog_entry(tag: str, image: Image) -> CatalogEntry:
    """What the catalog tells of an image."""
    return CatalogEntry(
        hash=image.spec.root.hash,
        tag=tag,
        spec_format=image.spec.format,
        manifest=image.raw.descriptor(),
        tarball=image.tarball,
        diff_id=image.diff_ids[-1],
        layer_count=len(image.manifest.layers),
        layers_size=sum(layer.size for layer in image.manifest.layers),
        annotations=image.manifest.annotations,
    )

"""Makes the OCI image of a spec as Spack makes it (binary_distribution.py, `_oci_put_manifest`), from values alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.entry import Entry, TarballInfo
from cachelib.model.image import BaseImage, Layer
from cachelib.model.oci import (
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    LAYER_GZIP,
    Descriptor,
    ImageManifest,
    RawManifest,
    compact_json,
    go_architecture,
)
from cachelib.model.outcome import Built
from cachelib.model.record import EnvChange, Origin, PackageInfo, Record, apply_environment
from cachelib.model.spec import ConcreteSpec, format_node
from cachelib.steps.targets import family

#: Our own annotations begin so (image-spec, annotations.md: reverse domain notation).
PREFIX = "io.github.spack-build-cache."
#: What names a file: of a layer, the one that `oras pull` writes.
TITLE = "org.opencontainers.image.title"
#: ghcr.io shows this many characters of a description and of a licence, and refuses more.
DESCRIPTION_LIMIT, LICENSE_LIMIT = 512, 256
# What Spack puts in the config of an image (binary_distribution.py: CURRENT_BUILD_CACHE_LAYOUT_VERSION).
_LAYOUT_VERSION = 3
# Spack, user_environment.py, prefix_inspections.
_INSPECTIONS = (
    ("bin", "PATH"), ("man", "MANPATH"), ("share/man", "MANPATH"), ("share/aclocal", "ACLOCAL_PATH"),
    ("lib/pkgconfig", "PKG_CONFIG_PATH"), ("lib64/pkgconfig", "PKG_CONFIG_PATH"), ("share/pkgconfig", "PKG_CONFIG_PATH"),
    ("", "CMAKE_PREFIX_PATH"),
)  # fmt: skip


def make_config(
    entry: Entry,
    layers: Sequence[Layer],
    base: BaseImage,
    record: Record | None,
    annotations: Mapping[str, str],
    kept: Mapping[str, Any],
) -> bytes:
    """The image's config: what a container runtime needs, beside it the spec, as Spack reads it back, and what we keep."""
    target = entry.spec.root.target
    config: dict[str, Any] = copy.deepcopy(dict(base.config)) or {
        "architecture": go_architecture(family(target)),
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Env": []},
    }
    config["rootfs"]["diff_ids"] = [*config["rootfs"]["diff_ids"], *(str(layer.diff_id) for layer in layers)]
    # A base image's history tells of its layers alone; image-spec, config.md, asks that it tell of all or be left out.
    config.pop("history", None)
    given = config.get("config")
    runtime: dict[str, Any] = given if isinstance(given, dict) else {}
    config["config"] = runtime
    if base.media_type == DOCKER_MANIFEST:
        # Docker's manifests have no annotations; labels of the config are what its clients and ghcr.io read instead.
        runtime["Labels"] = {**(runtime.get("Labels") or {}), **annotations}
    runtime["Env"] = [f"{k}={v}" for k, v in _environment(config, layers, record).items()]
    created = record.origin.created if record else ""
    if created:
        config["created"] = created
    own = layers[-1]
    config |= spec_dict(entry.spec)
    config |= {
        "buildcache_layout_version": _LAYOUT_VERSION,
        "binary_cache_checksum": {"hash_algorithm": "sha256", "hash": own.digest.hex},
        "archive_size": own.size,
        "archive_timestamp": created,
        "archive_compression": "gzip",
    }
    config |= kept
    return compact_json(config)


def make_manifest(
    layers: Sequence[Layer], base: BaseImage, config: bytes, annotations: Mapping[str, str], *, tag: str
) -> tuple[Descriptor, RawManifest]:
    """The image's manifest, and the descriptor of its config. One format throughout: Apptainer refuses a mixture."""
    docker = base.media_type == DOCKER_MANIFEST
    layer_type = DOCKER_LAYER_GZIP if docker else LAYER_GZIP
    descriptor = Descriptor(media_type=base.config_media_type, digest=Digest.of(config), size=len(config))
    *below, own = (layer.descriptor(layer_type) for layer in layers)
    if not docker:
        # `oras pull` writes the layers that have a title: the spec's own, none of its dependencies'.
        own = replace(own, annotations={TITLE: f"{tag.removesuffix('.spack')}.tar.gz"})
    manifest = ImageManifest(
        media_type=base.media_type,
        config=descriptor,
        layers=(*base.layers, *below, own),
        annotations={} if docker else annotations,
    )
    return descriptor, manifest.raw()


def make_annotations(entry: Entry, record: Record | None, base: BaseImage, labels: Mapping[str, str]) -> dict[str, str]:
    """What the image tells of itself: OCI's keys (image-spec, annotations.md), and ours for what they have no word for.

    `labels` are the cache's own: its `vendor`, and the `source` that ghcr.io links its packages by.
    """
    spec = entry.spec
    package = record.package if record else PackageInfo()
    origin = record.origin if record else Origin()
    oci = {
        "title": f"{spec.root.name}@{spec.root.version}",
        "version": spec.root.version,
        "description": (package.description or format_node(spec.root.raw))[:DESCRIPTION_LIMIT],
        "licenses": package.license[:LICENSE_LIMIT],
        "url": package.homepage,
        "documentation": f"https://packages.spack.io/package.html?name={spec.root.name}" if spec.root.namespace == "builtin" else "",
        "source": labels.get("source", "") or origin.source,
        "revision": origin.revision,
        "created": origin.created,
        "vendor": labels.get("vendor", ""),
        "base.name": base.name,
    }
    ours = {
        "dag-hash": spec.root.hash,
        "spec": format_node(spec.root.raw),
        "target": spec.root.target,
        "os": spec.root.os,
        "platform": spec.root.platform,
        "compilers": ",".join(spec.compilers()),
        "libc": spec.libc(),
        "stack": origin.stack,
        "spack.version": origin.spack_version,
        "spack.commit": origin.spack_commit,
        "packages.version": origin.packages_version,
        "packages.commit": origin.packages_commit,
        "packages.repos": origin.repos,
        "maintainers": ",".join(package.maintainers),
        "build.run": origin.run,
        "build.seconds": str(record.outcome.seconds) if record and isinstance(record.outcome, Built) else "",
    }
    keyed = {f"org.opencontainers.image.{key}": value for key, value in oci.items()} | {PREFIX + key: value for key, value in ours.items()}
    return {key: value for key, value in keyed.items() if value}


def spec_dict(spec: ConcreteSpec) -> dict[str, Any]:
    """The spec as Spack writes it to a file: its format, and its nodes, root first."""
    return {"spec": {"_meta": {"version": spec.format}, "nodes": [node.raw for node in spec.nodes.values()]}}


def _environment(config: dict[str, Any], layers: Sequence[Layer], record: Record | None) -> dict[str, str]:
    env = {"PATH": "/bin:/usr/bin"}
    for item in config["config"].get("Env") or ():
        key, _, value = str(item).partition("=")
        env[key] = value
    if record and record.environment:
        apply_environment(record.environment, env)
        return env
    # No record (a mirror that Spack alone wrote): the folders in the tarballs tell what Spack would have found.
    found = [layer.info for layer in layers if layer.info is not None and layer.info.prefix]
    apply_environment(tuple(change for info in found for change in _inspect(info)), env)
    return env


def _inspect(info: TarballInfo) -> Iterator[EnvChange]:
    for folder, variable in _INSPECTIONS:
        if not folder or folder in info.directories:
            yield EnvChange(op="prepend_path", name=variable, value=f"{info.prefix}/{folder}")

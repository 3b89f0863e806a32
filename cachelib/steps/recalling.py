"""What an image tells of its build: where it came from, and the record that it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cachelib.model.oci import ImageManifest
from cachelib.model.outcome import Built, Reused
from cachelib.model.record import EnvChange, Origin, PackageInfo, Record
from cachelib.model.spec import format_node
from cachelib.steps.image import DESCRIPTION_LIMIT, PREFIX
from cachelib.steps.reading import Image

_OCI = "org.opencontainers.image."
_ORIGIN = {
    "stack": "stack", "spack_version": "spack.version", "spack_commit": "spack.commit",
    "packages_version": "packages.version", "packages_commit": "packages.commit", "repos": "packages.repos", "run": "build.run",
}  # fmt: skip


def published_record(image: Image) -> Record | None:
    """The record of a published build, to publish it again as it is; nothing where its image tells nothing (Spack pushed it)."""
    told, root = told_of(image.manifest, image.config), image.spec.root
    if told.get(f"{PREFIX}dag-hash") != root.hash:
        return None
    seconds = told.get(f"{PREFIX}build.seconds", "")
    runtime = image.config.get("config")
    env = runtime.get("Env") if isinstance(runtime, dict) else None
    pairs = [str(item).partition("=") for item in (env if isinstance(env, list) else ())]
    return Record(
        name=root.name, version=root.version, hash=root.hash, outcome=_built(seconds) or Reused(source="registry"),
        package=published_package(told, format_node(root.raw)), origin=published_origin(image),
        # All of it, that of the base too: what is made of it again is the same, byte for byte.
        environment=tuple(EnvChange(op="set", name=name, value=value) for name, _, value in pairs),
    )  # fmt: skip


def _built(seconds: str) -> Built | None:
    try:
        took = float(seconds)
    except ValueError:
        return None
    return Built(seconds=took) if 0 <= took < 1e9 else None


def published_package(told: Mapping[str, str], stand_in: str = "") -> PackageInfo:
    """What an image tells of its package. `stand_in` is what its description is where the recipe has none."""
    description = told.get(f"{_OCI}description", "")
    return PackageInfo(
        description="" if description == stand_in[:DESCRIPTION_LIMIT] else description, homepage=told.get(f"{_OCI}url", ""),
        license=told.get(f"{_OCI}licenses", ""), maintainers=tuple(filter(None, told.get(f"{PREFIX}maintainers", "").split(","))),
    )  # fmt: skip


def published_origin(image: Image) -> Origin:
    """What an image tells of where it came from; what it doesn't tell is empty (an image that Spack pushed tells nothing)."""
    labels = told_of(image.manifest, image.config)
    told = {key: labels.get(PREFIX + name, "") for key, name in _ORIGIN.items()}
    oci = {key: labels.get(f"org.opencontainers.image.{key}", "") for key in ("source", "revision", "created")}
    return Origin(**told, **oci)


def told_of(manifest: ImageManifest, config: Mapping[str, Any]) -> dict[str, str]:
    """The annotations of an image."""
    # Docker's manifests have no annotations: there they are labels of the config (steps/image.py, make_config).
    runtime = config.get("config")
    labels = runtime.get("Labels") if isinstance(runtime, dict) else None
    held = labels if isinstance(labels, dict) else {}
    return {str(key): str(value) for key, value in {**held, **manifest.annotations}.items()}

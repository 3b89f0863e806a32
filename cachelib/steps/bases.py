"""Base images: what lies below the packages' layers, read from where it is and copied to where it is needed."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from cachelib.model.errors import FormatError
from cachelib.model.image import BaseImage
from cachelib.model.oci import Descriptor, ImageManifest, parse_json
from cachelib.model.ports import Repository


def copy_base(source: Repository, target: Repository, base: BaseImage) -> int:
    """Copy the layers of a base image that the target lacks; return the bytes that were sent."""
    return sum(copy_blob(source, target, layer) for layer in base.layers)


def copy_blob(source: Repository, target: Repository, blob: Descriptor) -> int:
    """Copy a blob that the target lacks, as a stream; return the bytes that were sent, which are none where a registry mounts it."""
    return target.put_blob(blob, lambda: io.BufferedReader(_Stream(source.stream_blob(blob))), origin=source.name)


class _Stream(io.RawIOBase):
    """A file over pieces that arrive one after the other."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def base_image(source: Repository, reference: str, name: str, platform: str) -> BaseImage:
    """Read the base image for an architecture (`platform` is OCI's word, amd64); raise FormatError where there is none."""
    raw = source.manifest(reference)
    if raw is None:
        raise FormatError(f"the base image {name} does not exist", hint="mend `base_image` in cache.yaml")
    data = parse_json(raw.data, f"the manifest of {name}")
    if "manifests" in data:
        fitting = [
            item
            for item in data["manifests"]
            if isinstance(item, dict)
            and isinstance(item.get("platform"), dict)
            and (item["platform"].get("os"), item["platform"].get("architecture")) == ("linux", platform)
        ]
        if not fitting:
            raise FormatError(f"the base image {name} has nothing for linux/{platform}", hint="choose another `base_image`")
        raw = source.manifest(str(fitting[0].get("digest")))
        if raw is None:
            raise FormatError(f"the base image {name} lacks its manifest for linux/{platform}")
    manifest = ImageManifest.parse(raw)
    config = parse_json(source.read_blob(manifest.config), f"the config of {name}")
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids"), list) or len(rootfs["diff_ids"]) != len(manifest.layers):
        raise FormatError(f"the config of the base image {name} does not name its layers", hint="choose another `base_image`")
    if (config.get("os"), config.get("architecture")) != ("linux", platform):
        found = f"{config.get('os')}/{config.get('architecture')}"
        raise FormatError(f"the base image {name} is for {found}, not for linux/{platform}", hint="choose another `base_image`")
    return BaseImage(
        name=name,
        media_type=manifest.media_type,
        config_media_type=manifest.config.media_type,
        layers=manifest.layers,
        config=config,
    )

"""A spec's image, before it is bytes: its layers, and the base it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.entry import TarballInfo
from cachelib.model.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One package's tarball as a layer. `info` is known for tarballs that lie in the mirror."""

    digest: Digest
    size: int
    diff_id: Digest
    info: TarballInfo | None = None

    def descriptor(self, media_type: str = LAYER_GZIP) -> Descriptor:
        return Descriptor(media_type=media_type, digest=self.digest, size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """What lies below the packages' layers; by default nothing."""

    name: str = ""
    media_type: str = MANIFEST
    config_media_type: str = CONFIG
    layers: tuple[Descriptor, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

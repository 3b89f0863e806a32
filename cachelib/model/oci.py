"""OCI's words: media types, descriptors, manifests, tags, and where a repository lies."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, UsageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST_TYPES = (MANIFEST, IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

#: A manifest is read into memory whole; registries refuse larger ones (distribution-spec, Pushing manifests: 4 MiB).
MANIFEST_LIMIT = 4 * 1024 * 1024
#: A blob that is read into memory whole has no more bytes than this, where nothing else is said: configs have around 100 KB.
BLOB_LIMIT = 16 * 1024 * 1024
#: Bytes of a list of all tags: a page of a registry's, of which some know one alone, or the index.json of a layout. A million fit.
TAGS_LIMIT = 256 * 1024 * 1024

#: Where stock Spack looks for its index (binary_distribution.py, `default_index_tag`).
INDEX_TAG = "index.spack"
#: Where our catalog lies. Not `*.spack`: Spack's update-index would take it for a spec and die.
CATALOG_TAG = "catalog"

#: How deep JSON may be nested: a spec file goes ten deep, the base of an image with extensions of its own some more.
_DEPTH = 100
# OCI distribution-spec, Pulling manifests: <reference> as a tag; <name>.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A reference to content by digest (image-spec, descriptor.md). `size` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: object) -> Descriptor:
        """Read a descriptor's JSON object; raise FormatError where it is none."""
        if not isinstance(raw, dict):
            raise FormatError("a descriptor is not a JSON object")
        return cls(
            media_type=str(raw.get("mediaType", "")),
            digest=Digest.parse(raw.get("digest")),
            size=check_size(raw.get("size")),
            annotations=_annotations(raw),
        )

    def json(self) -> dict[str, Any]:
        """The descriptor as a JSON object."""
        plain = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        return plain | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawManifest:
    """A manifest as bytes: what was stored is what has the digest, whatever a parser makes of it."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.data))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """An image manifest (image-spec, manifest.md), OCI's or Docker's."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    artifact_type: str = ""

    @classmethod
    def parse(cls, raw: RawManifest) -> ImageManifest:
        """Read a manifest; raise FormatError where it is an image index or no manifest at all."""
        data = parse_json(raw.data, "a manifest")
        media_type = str(data.get("mediaType", raw.media_type))
        if "manifests" in data or media_type in (IMAGE_INDEX, DOCKER_INDEX):
            raise FormatError("an image index, where an image manifest is expected")
        layers = data.get("layers")
        if not isinstance(layers, list):
            raise FormatError("a manifest without `layers`")
        return cls(
            media_type=media_type,
            config=Descriptor.parse(data.get("config")),
            layers=tuple(map(Descriptor.parse, layers)),
            annotations=_annotations(data),
            artifact_type=str(data.get("artifactType", "")),
        )

    def raw(self) -> RawManifest:
        """Write the manifest: compact JSON, keys in the order Spack writes them."""
        data: dict[str, Any] = {"mediaType": self.media_type, "schemaVersion": 2}
        if self.artifact_type:
            data["artifactType"] = self.artifact_type
        data |= {"config": self.config.json(), "layers": [layer.json() for layer in self.layers]}
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        return RawManifest(media_type=self.media_type, data=compact_json(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLocation:
    """A repository in a registry that speaks the distribution-spec; `plain_http` as Spack's `oci+http://`."""

    host: str
    repository: str
    plain_http: bool = False

    def __str__(self) -> str:
        return f"{'oci+http' if self.plain_http else 'oci'}://{self.host}/{self.repository}"

    def child(self, name: str) -> RegistryLocation:
        return RegistryLocation(host=self.host, repository=f"{self.repository}/{name}", plain_http=self.plain_http)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutLocation:
    """A repository in a directory (image-spec, image-layout.md)."""

    path: Path

    def __str__(self) -> str:
        return f"oci-layout:{self.path}"

    def child(self, name: str) -> LayoutLocation:
        return LayoutLocation(path=self.path / name)


Location = RegistryLocation | LayoutLocation


def parse_location(text: str, *, folder: Path) -> Location:
    """Read `oci://HOST/NAME`, `oci+http://HOST/NAME` or `oci-layout:DIR` (relative to `folder`); raise UsageError."""
    hint = "write oci://HOST/NAME (such as oci://ghcr.io/OWNER/REPO) or oci-layout:DIRECTORY"
    if text.startswith("oci-layout:"):
        directory = text.removeprefix("oci-layout:")
        if not directory or "\0" in directory:
            raise UsageError(f"{text!r} names no directory", hint=hint)
        return LayoutLocation(path=Path(os.path.normpath(folder / directory)))
    scheme, separator, rest = text.partition("://")
    host, _, repository = rest.partition("/")
    if "@" in host:
        raise UsageError("an address holds no user and no password", hint="log in with `docker login` or `podman login` instead")
    if scheme not in ("oci", "oci+http") or not separator:
        raise UsageError(f"{text!r} is no place for a cache", hint=hint)
    if not _HOST.fullmatch(host) or not _port_fits(host):
        raise UsageError(f"{host!r} in {text!r} is no host name", hint=hint)
    # Spack lowers the repository too (oci/image.py, from_string): an owner's name on GitHub may have capitals.
    repository = repository.rstrip("/").lower()
    if not _REPOSITORY.fullmatch(repository) or len(repository) > 255:
        raise UsageError(
            f"{repository!r} in {text!r} is no repository name",
            hint="letters, digits and single . _ - between them, parts divided by /; no tag",
        )
    return RegistryLocation(host=host, repository=repository, plain_http=scheme == "oci+http")


def _port_fits(host: str) -> bool:
    port = re.search(r":(\d+)\Z", host)
    return ".." not in host and (port is None or 0 < int(port[1]) < 65536)


def parse_image(text: str, *, folder: Path) -> tuple[Location, str]:
    """Read `oci://HOST/NAME:TAG`, `...@sha256:HEX` or `oci-layout:DIR:TAG`; give the place and the tag or digest. Raise UsageError."""
    where, at, digest = text.partition("@")
    if at:
        try:
            return parse_location(where, folder=folder), str(Digest.parse(digest))
        except FormatError as error:
            raise UsageError(f"{text!r}: {error.message}", hint=error.hint) from None
    where, _, tag = text.rpartition(":")
    if not is_tag(tag) or where in ("", "oci", "oci+http", "oci-layout"):
        raise UsageError(f"{text!r} names no tag", hint="write oci://HOST/NAME:TAG, oci://HOST/NAME@sha256:... or oci-layout:DIR:TAG")
    return parse_location(where, folder=folder), tag


def spec_tag(name: str, version: str, dag_hash: str) -> str:
    """The tag of a spec's image (Spack, oci/image.py: `ensure_valid_tag`)."""
    return tag_of(f"{name}-{version}-{dag_hash}")


def tag_of(stem: str) -> str:
    """The tag of `name-version-hash`."""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{stem}.spack")
    return tag if len(tag) <= 128 else tag[:64] + tag[-64:]


def is_spec_tag(tag: str) -> bool:
    """Whether Spack takes the tag for a spec's (binary_distribution.py, `tag_is_spec`)."""
    return tag.endswith(".spack") and tag != INDEX_TAG


def is_tag(text: str) -> bool:
    """Whether a text is a tag (distribution-spec, Pulling manifests)."""
    return _TAG.fullmatch(text) is not None


def check_tag(tag: str) -> str:
    """Return the tag if it is one; raise FormatError otherwise."""
    if not is_tag(tag):
        raise FormatError(f"not a tag: {tag!r}"[:300])
    return tag


def go_architecture(target_family: str) -> str:
    """OCI's architecture of a Spack target family (binary_distribution.py, `_oci_archspec_to_gooarch`)."""
    return {"aarch64": "arm64", "x86_64": "amd64"}.get(target_family, target_family)


def check_size(value: object) -> int:
    """Return the number if it is one of bytes or of things (image-spec, descriptor.md: int64); raise FormatError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise FormatError(f"{value!r:.80} is no size and no number of things")
    return value


def compact_json(data: object) -> bytes:
    """JSON in the fewest bytes, ASCII, keys in the order they stand."""
    return json.dumps(data, separators=(",", ":")).encode()


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object; raise FormatError saying what it was meant to be."""
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"{what} is not JSON: {error or type(error).__name__}"[:300]) from None
    if not isinstance(parsed, dict):
        raise FormatError(f"{what} is not a JSON object")
    if _is_deeper(parsed, _DEPTH):
        raise FormatError(f"{what} is nested more than {_DEPTH} deep")
    return parsed


def _is_deeper(value: object, depth: int) -> bool:
    """Whether JSON is nested deeper than that. What could just be read may be too deep to be written, or shown, further on."""
    level: list[Any] = [value]
    for _ in range(depth):
        level = [
            inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer) if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def manifest_parts(manifest: Mapping[str, Any]) -> list[Descriptor]:
    """The blobs that an image manifest's JSON names; raises FormatError where that can't be read."""
    return [Descriptor.parse(item) for item in (*_list(manifest, "layers"), *filter(None, [manifest.get("config")]))]


def listed_manifests(manifest: Mapping[str, Any]) -> list[Digest]:
    """The manifests that an image index's JSON lists; raises FormatError where that can't be read."""
    return [Descriptor.parse(item).digest for item in _list(manifest, "manifests")]


def _list(manifest: Mapping[str, Any], key: str) -> list[Any]:
    found = manifest.get(key) or []
    if not isinstance(found, list):
        raise FormatError(f"`{key}` of a manifest is not a list")
    return found


def _annotations(raw: Mapping[str, Any]) -> dict[str, str]:
    annotations = raw.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise FormatError("`annotations` is not a JSON object")
    return {str(key): str(value) for key, value in annotations.items()}

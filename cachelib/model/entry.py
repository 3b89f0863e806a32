"""Entries of a Spack buildcache, layout v3: the manifest of a spec in a mirror, and what its tarball turns out to be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.oci import parse_json, tag_of
from cachelib.model.spec import ConcreteSpec, check_hash

LAYOUT_VERSION = 3
ENTRY_SUFFIX = ".spec.manifest.json"
# Spack, buildcache_migrate/url_buildcache.py: media types of an entry's blobs.
TARBALL = "application/vnd.spack.install.v2.tar+gzip"
SPEC = "application/vnd.spack.spec.v5+json"
#: A spec file of more than this (bytes) is no spec file; a gzip bomb is stopped here. Real ones are under 100 KB.
SPEC_LIMIT = 16 * 1024 * 1024
#: The manifest of an entry, signed or not, has no more bytes than this. Real ones have under 2 KB.
ENTRY_LIMIT = 16 * 1024 * 1024
DATABASE = "application/vnd.spack.db.v8+json"

# A signed entry is the JSON inside a clear-signed message (RFC 9580, 7: Cleartext Signature Framework).
_SIGNED = re.compile(rb"-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)\r?\n-----BEGIN PGP SIGNATURE-----", re.S)
# The same and nothing beside it: what stands before, behind or in the head of a message is not signed, and other readers may take it.
_ONE_MESSAGE = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:Hash: [A-Za-z0-9, ]+\r?\n)*\r?\n.*?\r?\n"
    rb"-----BEGIN PGP SIGNATURE-----\r?\n[^-]*-----END PGP SIGNATURE-----\s*",
    re.S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRecord:
    """One blob that an entry names. `size` is in bytes, of the blob as it is stored."""

    media_type: str
    digest: Digest
    size: int
    compression: str

    def json(self) -> dict[str, Any]:
        return {
            "contentLength": self.size,
            "mediaType": self.media_type,
            "compression": self.compression,
            "checksumAlgorithm": "sha256",
            "checksum": self.digest.hex,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryName:
    """What the name of an entry's file tells: enough to know whether it is published, without reading it."""

    path: PurePosixPath
    name: str
    hash: str
    tag: str

    @property
    def label(self) -> str:
        """`name@version/hash7`, as far as a file's name tells."""
        version = self.path.name[len(self.name) + 1 :].removesuffix(ENTRY_SUFFIX)[:-33]
        return f"{self.name}@{version}/{self.hash[:7]}"


def entry_name(path: PurePosixPath) -> EntryName:
    """Read the name of an entry's file, `<name>/<name>-<version>-<hash>.spec.manifest.json`; raise FormatError."""
    stem = path.name.removesuffix(ENTRY_SUFFIX)
    dag_hash = check_hash(stem[-32:], path.name)
    # Spack makes the tag of the same parts as the file's name (oci/image.py; spec.py, format_path).
    return EntryName(path=path, name=path.parent.name, hash=dag_hash, tag=tag_of(stem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A spec of a mirror: its manifest as bytes, its two blobs, and the spec itself."""

    path: PurePosixPath
    raw: bytes
    tarball: BlobRecord
    spec_file: BlobRecord
    spec: ConcreteSpec

    @property
    def hash(self) -> str:
        return self.spec.root.hash

    @property
    def label(self) -> str:
        return self.spec.label


@dataclass(frozen=True, slots=True, kw_only=True)
class TarballInfo:
    """What one pass over a tarball finds: digests and sizes (bytes) of both forms, and the prefix that lies in it."""

    digest: Digest
    size: int
    diff_id: Digest
    uncompressed: int
    prefix: str
    directories: tuple[str, ...]


def parse_blob_records(raw: bytes) -> tuple[BlobRecord, ...]:
    """Read the blobs that an entry's manifest names, signed or not; raise FormatError."""
    data = parse_json(signed_text(raw), "a buildcache entry")
    if data.get("version") != LAYOUT_VERSION:
        raise FormatError(f"a buildcache entry of layout {data.get('version')!r}; layout {LAYOUT_VERSION} is read")
    blobs = data.get("data")
    if not isinstance(blobs, list):
        raise FormatError("a buildcache entry without `data`")
    return tuple(map(_blob_record, blobs))


def signed_text(raw: bytes) -> bytes:
    """The JSON of an entry's manifest, without the signature where there is one."""
    signed = _SIGNED.search(raw)
    return re.sub(rb"(?m)^- ", b"", signed.group(1)) if signed else raw


def is_signed(raw: bytes) -> bool:
    """Whether an entry's manifest bears a signature, right or wrong."""
    return b"-----BEGIN PGP " in raw


def is_one_message(raw: bytes) -> bool:
    """Whether an entry's manifest is one clear-signed message, so that all of it that is read is what was signed."""
    return _ONE_MESSAGE.fullmatch(raw) is not None and raw.count(b"-----BEGIN PGP ") == 2


def find_blob(records: Iterable[BlobRecord], media_type: str) -> BlobRecord:
    """Find the one blob of a media type (by type, not by position: that went wrong before)."""
    found = [record for record in records if record.media_type == media_type]
    if len(found) != 1:
        raise FormatError(f"a buildcache entry holds {len(found)} blobs of type {media_type}; one is expected")
    return found[0]


def _blob_record(raw: Any) -> BlobRecord:
    if not isinstance(raw, dict):
        raise FormatError("a blob of a buildcache entry is not a JSON object")
    size = raw.get("contentLength")
    if raw.get("checksumAlgorithm") != "sha256" or not isinstance(size, int) or size < 0:
        raise FormatError(f"a blob of a buildcache entry without sha256 checksum and length: {raw!r}"[:300])
    return BlobRecord(
        media_type=str(raw.get("mediaType", "")),
        digest=Digest(str(raw.get("checksum", ""))),
        size=size,
        compression=str(raw.get("compression", "none")),
    )

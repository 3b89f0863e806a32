"""Keys that sign entries, what a signature turns out to be, and the files by which a mirror tells of its keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from cachelib.model.digest import Digest
from cachelib.model.entry import LAYOUT_VERSION, BlobRecord
from cachelib.model.errors import FormatError
from cachelib.model.text import printable

# Spack, url_buildcache.py: PUBLIC_KEY_MEDIATYPE, PUBLIC_KEY_INDEX_MEDIATYPE, and where keys lie in a v3 mirror.
KEY_TYPE, KEY_INDEX_TYPE = "application/pgp-keys", "application/vnd.spack.keyindex.v1+json"
KEY_FOLDER = PurePosixPath("v3/manifests/key")
KEY_SUFFIX = ".key.manifest.json"
#: A file of keys has no more bytes than this; a public key of RSA 4096 has 3,000.
KEY_LIMIT = 1024 * 1024
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a key tells of itself. Times are RFC 3339 in UTC; a key that doesn't expire has none."""

    fingerprint: str
    user_id: str
    created: str
    expires: str = ""
    revoked: bool = False

    def __post_init__(self) -> None:
        if not _FINGERPRINT.fullmatch(self.fingerprint):
            raise FormatError(f"{self.fingerprint[:100]!r} is no fingerprint of a key")

    def expired(self, moment: str) -> bool:
        """Whether it signs no more at a moment (RFC 3339, UTC)."""
        return bool(self.expires) and self.expires <= moment

    def state(self, moment: str) -> str:
        """How it is, in a word or two."""
        if self.revoked:
            return "revoked"
        if self.expired(moment):
            return f"expired on {self.expires[:10]}"
        return f"good until {self.expires[:10]}" if self.expires else "good"

    @property
    def label(self) -> str:
        """`fingerprint (user id)`, as it is printed."""
        return f"{self.fingerprint} ({printable(self.user_id)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """The public half of a key, ASCII-armored, as `spack gpg trust` takes it."""

    key: Key
    data: bytes

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)


class Standing(StrEnum):
    """What the signature of an entry comes to."""

    GOOD = "good"
    UNSIGNED = "unsigned"
    #: Of other content than it was made for, or no signature at all.
    BAD = "bad"
    #: Of a key that is none of the cache's.
    FOREIGN = "foreign"
    #: Of a key that was revoked: whoever stole it may have made it, whatever its date says.
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The signature of an entry: what it comes to, and by which key it says that it was made."""

    standing: Standing
    fingerprint: str = ""

    @property
    def words(self) -> str:
        """What it is, as a reason."""
        match self.standing:
            case Standing.GOOD:
                return f"signed by {self.fingerprint}"
            case Standing.UNSIGNED:
                return "it is not signed"
            case Standing.BAD:
                return "its signature is wrong: it is not what was signed"
            case Standing.FOREIGN:
                return f"it is signed by {self.fingerprint or 'a key'}, which is none of the cache's keys"
            case Standing.REVOKED:
                return f"it is signed by {self.fingerprint}, which was revoked"


def key_files(keys: Iterable[PublicKey]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files by which `spack buildcache keys --install --trust` finds the keys of a mirror, in the order to write them.

    Revoked keys are left out: gpg, and so Spack, takes the signatures of a revoked key that it holds for good ones.
    """
    named = [one for one in keys if not one.key.revoked]
    for one in named:
        yield from _named(KEY_TYPE, one.data, f"{one.key.fingerprint}{KEY_SUFFIX}")
    # Spack, binary_distribution.py, generate_key_index.
    fingerprints: dict[str, dict[str, str]] = {fingerprint: {} for fingerprint in sorted(one.key.fingerprint for one in named)}
    yield from _named(KEY_INDEX_TYPE, json.dumps({"keys": fingerprints}).encode(), "keys.manifest.json")
    yield PurePosixPath("v3/layout.json"), json.dumps({"signing": "gpg"}).encode()


def _named(media_type: str, data: bytes, name: str) -> Iterator[tuple[PurePosixPath, bytes]]:
    blob = BlobRecord(media_type=media_type, digest=Digest.of(data), size=len(data), compression="none")
    yield PurePosixPath("blobs/sha256", blob.digest.hex[:2], blob.digest.hex), data
    manifest = {"version": LAYOUT_VERSION, "data": [blob.json()]}
    yield KEY_FOLDER / name, json.dumps(manifest, indent=0, separators=(",", ":")).encode()

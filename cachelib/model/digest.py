"""Digests of content, as OCI writes them (`sha256:<hex>`) and as Spack does (bare hex, a *checksum*)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from cachelib.model.errors import FormatError

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256 digest. Other algorithms are refused: neither Spack nor ghcr.io uses them."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise FormatError(f"not a sha256 checksum: {self.hex!r}", hint="64 lower-case hex digits are expected")

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read `sha256:<hex>`; raise FormatError for anything else."""
        if not isinstance(text, str) or not text.startswith("sha256:"):
            raise FormatError(f"not a sha256 digest: {text!r}", hint="`sha256:` and 64 hex digits are expected")
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Compute the digest of bytes in memory."""
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

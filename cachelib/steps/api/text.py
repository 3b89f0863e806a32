"""Writes the bodies of the API: JSON, one row a line, and what names a file together with its digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.digest import Digest

#: The major version stands in the path; the minor one counts additions. Readers ignore keys they don't know.
API_VERSION = "1.0"
API = PurePosixPath("api/v1")
SERVICE = "index.json"
#: Rows are cut into further files so that none of those passes this (bytes); what is promised is twice as much.
FILE_LIMIT = 1_000_000
# A half of a surrogate pair, and numbers that are none: Python's JSON has both, that of others has neither.
_ODD = (b"\\ud", b"\\uD", b"NaN", b"Infinity")


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the API; its path is relative to the service document."""

    path: str
    data: bytes

    @property
    def file(self) -> tuple[PurePosixPath, bytes]:
        """The file below the site's root."""
        outside = self.path.startswith("../../")
        return (PurePosixPath(self.path[6:]) if outside else API / self.path), self.data

    @property
    def ref(self) -> Ref:
        """What names the file."""
        return Ref(self.path, str(Digest.of(self.data)))


@dataclass(frozen=True, slots=True)
class Ref:
    """A file by its path, and the digest that it has: who holds that already need not fetch it."""

    path: str
    digest: str

    def json(self) -> dict[str, str]:
        return {"path": self.path, "digest": self.digest}


def encode(value: object) -> bytes:
    """A value as compact JSON in UTF-8; half a surrogate pair, which UTF-8 can't hold, becomes `?`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def rows(found: Iterable[bytes]) -> bytes:
    """Encoded values as a list, one a line."""
    text = b",\n".join(found)
    return b"[\n%s\n]" % text if text else b"[]"


def table(found: Iterable[tuple[str, bytes]]) -> bytes:
    """Encoded values by name as an object, one a line."""
    text = b",\n".join(b"%s:%s" % (encode(key), value) for key, value in found)
    return b"{\n%s\n}" % text if text else b"{}"


def document(path: str, kind: str, fields: Mapping[str, Any], links: Mapping[str, object] | None = None) -> Document:
    """A body: `meta`, `links` (relative to the service document), and its fields; bytes among those are encoded already."""
    head: dict[str, Any] = {
        "meta": {"api": API_VERSION, "kind": kind},
        "links": {"self": path, "service": SERVICE, **(links or {})},
    }
    lines = (b"%s:%s" % (encode(key), value if isinstance(value, bytes) else encode(value)) for key, value in {**head, **fields}.items())
    return Document(path, b"{%s}\n" % b",\n".join(lines))


def portable(text: bytes) -> bytes:
    """JSON of Spack's as any reader takes it: what only Python writes is replaced."""
    if not any(odd in text for odd in _ODD):
        return text
    return encode(json.loads(text, parse_constant=lambda _: None))


def parts(found: Iterable[bytes], limit: int = FILE_LIMIT) -> Iterator[list[bytes]]:
    """Encoded rows in their order, cut where a file would grow too large; at least one part, which may be empty."""
    part: list[bytes] = []
    size = 0
    for row in found:
        if part and size + len(row) > limit:
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row) + 2
    yield part


def fitting(found: Iterable[bytes], limit: int = FILE_LIMIT) -> bytes:
    """The first of encoded rows, as many as fit a file, as `rows` writes them."""
    return rows(next(parts(found, limit)))


def chunks(names: Iterable[str], most: int = 512) -> Iterator[tuple[str, list[str]]]:
    """Sorted names in groups of some 256, each with a name that tells it from the others.

    Where a group begins hangs on the name there and on no other (it is a digest that begins with zeros), so that what comes
    or goes changes one group, and leaves the files of all others as they are.
    """
    group: list[str] = []
    label = "first"
    for name in names:
        digest = Digest.of(name.encode()).hex
        if group and (digest.startswith("00") or len(group) >= most):
            yield label, group
            group, label = [], digest[:16]
        group.append(name)
    if group:
        yield label, group

"""Spack's index of a buildcache: the database JSON, version 8, and the files that carry it in a v3 mirror.

Written one node a line, sorted by DAG hash: equal contents are equal bytes, and a change of ten nodes is a change of ten
lines, so that an index of ten thousand need not be parsed to grow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.entry import DATABASE, LAYOUT_VERSION, BlobRecord
from cachelib.model.errors import FormatError
from cachelib.model.oci import parse_json
from cachelib.model.spec import parse_node

DATABASE_VERSION = "8"
#: A database of more bytes than this is not read: a node takes up to 2 KB, so 500,000 fit.
DATABASE_LIMIT = 1024 * 1024 * 1024
#: Where a v3 mirror names its index.
INDEX_MANIFEST = PurePosixPath("v3/manifests/index/index.manifest.json")

_HEAD = b'{"database":{"version":"%s","installs":{' % DATABASE_VERSION.encode()
_TAIL = b"\n}}}"
_NODE = "a node of Spack's index"
# JSON written compactly holds no line ends, so what stands between two of them is one node, whatever its contents.
_LINE = re.compile(rb'"([a-z2-7]{32})":\{"spec":(\{.*\}),"ref_count":(\d{1,18}),"in_buildcache":(true|false)\}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Every node of every DAG by DAG hash, and which of them are there; `lines` are the lines of its JSON.

    `ref_count` counts the dependents in the database (Spack, database.py, `_add`), so a node that neither is there nor
    is counted can go. `mixed` remembers that two specs told different things of one DAG hash.
    """

    lines: Mapping[str, bytes] = field(default_factory=dict)
    mixed: bool = False

    def data(self) -> bytes:
        """The database as bytes: what Spack reads."""
        return _HEAD + b",".join(b"\n" + self.lines[h] for h in sorted(self.lines)) + _TAIL

    def node(self, dag_hash: str) -> dict[str, Any]:
        """A node as Spack's JSON object; raise KeyError where there is none, FormatError where it can't be read."""
        return parse_json(self.text(dag_hash), _NODE)

    def text(self, dag_hash: str) -> bytes:
        """A node's JSON as it stands, compact and ASCII; raise KeyError where there is none."""
        return _fields(self.lines[dag_hash])[0]

    def present(self) -> frozenset[str]:
        """The DAG hashes that are there."""
        return frozenset(h for h, line in self.lines.items() if line.endswith(b"true}"))


def parse_database(data: bytes, *, mixed: bool = False) -> Database:
    """Read a database as it is written here; raise FormatError for one that somebody else wrote."""
    if not data.startswith(_HEAD) or not data.endswith(_TAIL):
        raise FormatError("a Spack index that this program did not write")
    body = data[len(_HEAD) : -len(_TAIL)]
    lines = {line[1:33].decode("ascii", "replace"): line for line in body[1:].split(b",\n")} if body else {}
    if any(line[33:43] != b'":{"spec":' for line in lines.values()):
        raise FormatError("a Spack index with a line that holds no node")
    return Database(lines=lines, mixed=mixed)


def change(database: Database, *, added: Iterable[tuple[str, Mapping[str, bytes]]] = (), gone: Iterable[str] = ()) -> Database:
    """The database with entries that came (a DAG hash, and every node of its DAG) and without those that went.

    The result does not hang on the order of what came. Where two specs tell different things of one DAG hash, the
    smaller text stays: an external's hash doesn't cover all that is told of it.
    """
    books = _Books(database)
    for dag_hash, nodes in added:
        for h, node in nodes.items():
            books.bring(h, node)
        books.mark(dag_hash, present=True)
    for dag_hash in gone:
        books.mark(dag_hash, present=False)
        books.drop_unused(dag_hash)
    return books.close()


class _Books:
    """A database while it changes: counts are kept apart from the lines until the end."""

    def __init__(self, database: Database) -> None:
        self._lines = dict(database.lines)
        self._open: dict[str, tuple[bytes, int, bool]] = {}
        self._mixed = database.mixed

    def bring(self, dag_hash: str, node: bytes) -> None:
        held, count, present = self._get(dag_hash)
        if held == node:
            return
        self._mixed = self._mixed or bool(held)
        if held and held < node:
            return
        self._count_edges(held, -1)
        self._open[dag_hash] = (node, count, present)
        self._count_edges(node, +1)

    def mark(self, dag_hash: str, *, present: bool) -> None:
        node, count, _ = self._get(dag_hash)
        self._open[dag_hash] = (node, count, present)

    def drop_unused(self, dag_hash: str) -> None:
        waiting = [dag_hash]
        while waiting:
            h = waiting.pop()
            node, count, present = self._get(h)
            if node and not present and count <= 0:
                self._open[h] = (b"", count, False)
                waiting += self._count_edges(node, -1)

    def close(self) -> Database:
        for h, (node, count, present) in self._open.items():
            if node:
                self._lines[h] = _line(h, node, count, present)
            else:
                self._lines.pop(h, None)
        return Database(lines=self._lines, mixed=self._mixed)

    def _get(self, dag_hash: str) -> tuple[bytes, int, bool]:
        if dag_hash not in self._open:
            self._open[dag_hash] = _fields(self._lines[dag_hash]) if dag_hash in self._lines else (b"", 0, False)
        return self._open[dag_hash]

    def _count_edges(self, node: bytes, step: int) -> list[str]:
        below = [edge.hash for edge in parse_node(parse_json(node, _NODE)).dependencies] if node else []
        for h in below:
            held, count, present = self._get(h)
            self._open[h] = (held, count + step, present)
        return below


def _line(dag_hash: str, node: bytes, count: int, present: bool) -> bytes:
    return b'"%s":{"spec":%s,"ref_count":%d,"in_buildcache":%s}' % (dag_hash.encode(), node, count, b"true" if present else b"false")


def _fields(line: bytes) -> tuple[bytes, int, bool]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise FormatError("a Spack index with a line that holds no node")
    return match[2], int(match[3]), match[4] == b"true"


def index_files(data: bytes) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of a v3 mirror's index, in the order in which they must be written: the blob before what names it."""
    blob = BlobRecord(media_type=DATABASE, digest=Digest.of(data), size=len(data), compression="none")
    manifest = {"version": LAYOUT_VERSION, "data": [blob.json()]}
    yield PurePosixPath("blobs/sha256", blob.digest.hex[:2], blob.digest.hex), data
    yield PurePosixPath("v3/layout.json"), json.dumps({"signing": "gpg"}).encode()
    # One token a line, as Spack writes it: gpg cuts longer lines.
    yield INDEX_MANIFEST, json.dumps(manifest, indent=0, separators=(",", ":")).encode()

"""Reads whoever's Spack index piece by piece: of hundreds of megabytes, only the hashes and names of what is there are kept."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from cachelib.model.database import DATABASE_VERSION
from cachelib.model.errors import FormatError
from cachelib.model.spec import check_hash
from cachelib.model.upstream import MOST, package_name

#: An entry of more characters than this is none: real ones have some thousand.
ENTRY = 4 * 1024 * 1024
# Spack, database.py, _write_to_file: {"database": {"version": "8", "installs": {...}}}.
_HEAD = re.compile(r'\s*\{\s*"database"\s*:\s*\{\s*"version"\s*:\s*"([0-9]{1,3})"\s*,\s*"installs"\s*:\s*\{')
_KEY = re.compile(r'\s*(,?)\s*"([^"\\]{0,200})"\s*:\s*')
_END = re.compile(r"\s*\}\s*\}\s*\}\s*")
_HEAD_LENGTH = 4096


def present_in(pieces: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The DAG hashes of what an index says is there, each with its package's name (empty where it tells none that is one).

    Raises FormatError where it is no index of Spack, or no longer one.

    Every piece is read, so that whoever checks a digest at the end has come to it.
    """
    return _Reader(pieces).present()


class _Reader:
    """What is read of an index and not yet understood."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text, self._at, self._over = "", 0, False

    def present(self) -> Iterator[tuple[str, str]]:
        self._head()
        first, count = True, 0
        while (found := self._entry(first=first)) is not None:
            first = False
            h, record = found
            count += 1
            if count > MOST:
                raise FormatError(f"a Spack index of more than {MOST} specs")
            if record.get("in_buildcache") is True:
                spec = record.get("spec")
                yield h, package_name(spec.get("name") if isinstance(spec, dict) else "")

    def _head(self) -> None:
        while (head := _HEAD.match(self._text)) is None:
            if len(self._text) > _HEAD_LENGTH or not self._more():
                raise FormatError("it is no index of Spack")
        if head[1] != DATABASE_VERSION:
            raise FormatError(f"a Spack index of version {head[1]}: version {DATABASE_VERSION} is read")
        self._at = head.end()

    def _entry(self, *, first: bool) -> tuple[str, dict[str, object]] | None:
        """The next entry, or nothing at the end of a whole index."""
        while True:
            key = _KEY.match(self._text, self._at)
            if key is not None and bool(key[1]) is not first:
                try:
                    record, end = self._json.raw_decode(self._text, key.end())
                except (ValueError, RecursionError) as error:
                    if isinstance(error, RecursionError):
                        raise FormatError("a Spack index that is nested too deep") from None
                else:
                    if not isinstance(record, dict):
                        raise FormatError("a Spack index with an entry that is none")
                    self._at = end
                    return check_hash(key[2], "a Spack index"), record
            elif self._over and _END.fullmatch(self._text, self._at):
                return None
            if len(self._text) - self._at > ENTRY or not self._more():
                raise FormatError("a Spack index that is malformed, or breaks off")

    def _more(self) -> bool:
        """Read on; whether there was something."""
        if self._over:
            return False
        piece = next(self._pieces, None)
        try:
            more = self._decoder.decode(piece or b"", final=piece is None)
        except UnicodeDecodeError:
            raise FormatError("a Spack index that is no text") from None
        self._over = piece is None
        self._text, self._at = self._text[self._at :] + more, 0
        return True

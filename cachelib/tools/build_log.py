"""Finds the log of a build in its tarball while that streams by: in constant memory, and no further than the log goes.

Whoever wrote the tarball wrote the log, too: nothing of it is trusted, all of it is counted against a limit.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from isal import igzip

from cachelib.model.errors import FormatError
from cachelib.tools.files import BLOCK
from cachelib.tools.tar_members import read_members
from cachelib.tools.tarball import INFLATE_ERRORS, LEAST_INFLATED, MOST_INFLATED, MOST_MEMBERS

# Spack, package_base.py, install_log_path: gzipped, but for a store that is old.
_LOG, _OLD = "/.spack/spack-build-out.txt.gz", "/.spack/spack-build-out.txt"
#: A log that inflates to more bytes than this is none: builds write some MB.
LOG_INFLATED = 1024**3
_DAMAGE: tuple[type[Exception], ...] = (*INFLATE_ERRORS, tarfile.TarError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLog:
    """The end of a log, and how many bytes all of it has."""

    text: bytes
    size: int


def find_log(pieces: Iterable[bytes], size: int, limit: int) -> BuildLog | None:
    """The log in a gzipped tarball of `size` bytes: its last `limit` bytes; nothing where the tarball has none.

    Takes no more pieces than it needs. Raises FormatError where the tarball, or the log, is damaged or grows out of all bounds: the
    message goes on after a name.
    """
    try:
        source = io.BufferedReader(_Pieces(iter(pieces)), BLOCK)
        with igzip.IGzipFile(fileobj=source) as inflater:  # type: ignore[no-untyped-call]
            archive = io.BufferedReader(_Bounded(inflater, max(LEAST_INFLATED, MOST_INFLATED * size)), BLOCK)
            for count, member in enumerate(read_members(archive), 1):
                if count > MOST_MEMBERS:
                    raise FormatError(f"has more than {MOST_MEMBERS} members")
                # What Spack keeps comes before all other folders (archive.py: sorted), so that the first is that of the build itself.
                name = f"/{member.name.strip('/')}"
                if member.isreg() and name.endswith((_LOG, _OLD)):
                    return _read(_Member(archive, member.size), limit, gzipped=name.endswith(_LOG))
    except _DAMAGE as error:
        raise FormatError(f"is damaged: {error or type(error).__name__}") from None
    return None


def _read(member: io.RawIOBase, limit: int, *, gzipped: bool) -> BuildLog:
    kept, count = bytearray(), 0
    file: Any = io.BufferedReader(member, BLOCK)
    if gzipped:
        file = igzip.IGzipFile(fileobj=file)  # type: ignore[no-untyped-call]
    while block := file.read(BLOCK):
        count += len(block)
        if count > LOG_INFLATED:
            raise FormatError(f"holds a log of more than {LOG_INFLATED} bytes")
        kept += block
        if len(kept) > 2 * limit:
            del kept[:-limit]
    return BuildLog(text=bytes(kept[-limit:]), size=count)


class _Source(io.RawIOBase):
    """A file that gives what `_take` does."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _take(self, most: int) -> bytes:
        raise NotImplementedError


class _Pieces(_Source):
    """What comes in pieces, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, memoryview(b"")

    def _take(self, most: int) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = memoryview(piece)
        taken, self._left = self._left[:most], self._left[most:]
        return bytes(taken)


class _Bounded(_Source):
    """A file of which no more than so many bytes are read; raises FormatError where it has more."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._most, self._count = file, most, 0

    def _take(self, most: int) -> bytes:
        data: bytes = self._file.read(most)
        self._count += len(data)
        if self._count > self._most:
            raise FormatError(f"inflates to more than {self._most} bytes")
        return data


class _Member(_Source):
    """The next bytes of an archive, as a file of their own; raises FormatError where the archive ends before they do."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def _take(self, most: int) -> bytes:
        data = self._file.read(min(most, self._left))
        if self._left and not data:
            raise FormatError("breaks off in its log")
        self._left -= len(data)
        return data

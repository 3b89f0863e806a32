"""Walks through a tar archive that may be hostile: in constant memory, in time that grows with its bytes, and no further than they go.

tarfile reads headers whole, however large, in time that grows with their square, and seeks past the end of an archive step by step.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import IO

from cachelib.model.errors import FormatError

#: Bytes of the headers that go before one member: long names (Linux, PATH_MAX: 4 KiB), and attributes where another tar kept them.
HEADER_LIMIT = 1024 * 1024
# Bytes that are passed over at once: larger pieces are memory that is asked for anew each time.
_PIECE = 64 * 1024
_PAX = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE})
_LONG = frozenset({tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK})
# POSIX pax, Extended Header: "%d %s=%s\n", <length>, <keyword>, <value>.
_LENGTH, _SIZE = re.compile(rb"([0-9]{1,7}) "), re.compile("[0-9]{1,18}")


def read_members(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, with their names; raise FormatError or tarfile.TarError where it is none, or is cut off."""
    first = file.read(tarfile.BLOCKSIZE)
    if not first:
        raise FormatError("is empty")
    member = _member(file, first)
    while member is not None:
        yield member
        # tarfile.py, _proc_builtin: whatever size a folder or a link tells, no data follows.
        if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES:
            _skip(file, member.size)
        member = _member(file, file.read(tarfile.BLOCKSIZE))


def _member(file: IO[bytes], block: bytes) -> tarfile.TarInfo | None:
    """The next member, of which `block` is the first header; nothing at the end of the archive."""
    told: dict[str, str] = {}
    left = HEADER_LIMIT
    while block and block.count(0) < tarfile.BLOCKSIZE:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if member.size < 0:
            raise FormatError("holds a member of less than no bytes")
        if member.type not in _PAX | _LONG:
            return _completed(member, told)
        left -= tarfile.BLOCKSIZE + member.size
        if left < 0:
            raise FormatError(f"has more than {HEADER_LIMIT} bytes of headers before a member")
        data = _exactly(file, -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)[: member.size]
        if member.type in _PAX:
            # Of what is told twice the first holds, as for tarfile, with which Spack extracts.
            told = _records(data, everybody=member.type == tarfile.XGLTYPE) | told
        elif member.type == tarfile.GNUTYPE_LONGNAME:
            told.setdefault("path", data.partition(b"\0")[0].decode("utf-8", "surrogateescape"))
        block = _exactly(file, tarfile.BLOCKSIZE)
    return None


def _completed(member: tarfile.TarInfo, told: dict[str, str]) -> tarfile.TarInfo:
    """The member with what the headers before it tell."""
    # The map of a sparse file is as long as it likes to be, and where its data end hangs on it.
    if member.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in told):
        raise FormatError("holds a sparse file, as Spack makes none")
    if not _SIZE.fullmatch(size := told.get("size", str(member.size))):
        raise FormatError(f"holds a member of {size[:30]!r} bytes")
    member.name, member.size = told.get("path", member.name), int(size)
    return member


def _records(data: bytes, *, everybody: bool) -> dict[str, str]:
    """The records of a pax header; those for all members that follow (`everybody`) may not tell what is told of one."""
    found, at = {}, 0
    while at < len(data):
        length = _LENGTH.match(data, at)
        record = data[length.end() : at + int(length[1])] if length else b""
        key, equals, value = record.partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise FormatError("has a pax header that is none")
        found[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        at += int(length[1]) if length else 0
    if everybody and any(key in ("path", "size") or key.startswith("GNU.sparse.") for key in found):
        raise FormatError("has one name or size for all its members")
    return {} if everybody else found


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise FormatError("breaks off")
    return data


def _skip(file: IO[bytes], size: int) -> None:
    count = -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    while count:
        count -= len(_exactly(file, min(count, _PIECE)))

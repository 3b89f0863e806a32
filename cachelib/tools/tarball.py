"""Looks into a tarball of a buildcache entry: both digests and what lies where, in one pass, in constant memory.

A tarball may come from anybody, so whatever it says of itself is held against a limit before it is followed.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

from isal import igzip, igzip_lib, isal_zlib

from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord, TarballInfo
from cachelib.model.errors import FormatError, MirrorError
from cachelib.tools.files import BLOCK, open_plain
from cachelib.tools.tar_members import read_members

# Spack, user_environment.py, prefix_inspections: folders of a prefix that show up in the environment.
_FOLDERS = (
    "bin", "man", "share/man", "share/aclocal", "lib", "lib64",
    "lib/pkgconfig", "lib64/pkgconfig", "share/pkgconfig",
)  # fmt: skip
# Every prefix describes itself in this file (Spack, store layout); so it tells where the prefix is.
_MARK = "/.spack/spec.json"
#: A tarball inflates to this many bytes, or to so many times its size if that is more. Packages come to 2 to 10 times,
#: text that repeats itself to 50; gzip makes 1000 times of zeros, so that a bomb of 10 GB would hold out for hours.
LEAST_INFLATED, MOST_INFLATED = 1024**3, 200
#: Members of a tarball at most: the largest packages (TeX Live) have some 250,000 files.
MOST_MEMBERS = 2_000_000
#: Characters of the names of folders that may turn out to be the prefix's.
NAMES_LIMIT = 16 * 1024 * 1024
#: What inflating damaged bytes raises; igzip says OverflowError where a header of gzip doesn't end.
INFLATE_ERRORS: tuple[type[Exception], ...] = (
    OSError, EOFError, OverflowError, igzip.BadGzipFile, igzip_lib.error, isal_zlib.error,  # type: ignore[assignment]
)  # fmt: skip
_DAMAGE: tuple[type[Exception], ...] = (*INFLATE_ERRORS, tarfile.TarError, ValueError)
_CHANGED = "the file was changed after it was written: build the spec again"


class _HashingReader(io.RawIOBase):
    """Hashes what passes through, so that no byte is read twice; raises FormatError where more than `limit` bytes do."""

    def __init__(self, source: Any, limit: int, told: str) -> None:
        self._source, self._limit, self._told = source, limit, told
        self._hash = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self._hash.update(data)
        self.count += len(data)
        if self.count > self._limit:
            raise FormatError(f"{self._told} more than {self._limit} bytes")
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        while self.read(BLOCK):
            pass

    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


def inspect_tarball(path: Path, blob: BlobRecord, label: str) -> TarballInfo:
    """Read a gzipped tarball once; raise MirrorError where its digest, its size or its format is wrong, or it holds too much."""
    try:
        with open_plain(path) as file:
            return _inspect(file, blob)
    except FileNotFoundError:
        raise MirrorError(f"{label}: its tarball {blob.digest} is missing", hint="build the spec again") from None
    except _DAMAGE as error:
        raise MirrorError(f"{label}: its tarball {blob.digest} is damaged: {error}", hint="build the spec again") from None
    except FormatError as error:
        hint = error.hint or "a build that makes such a file can't be cached"
        raise MirrorError(f"{label}: its tarball {blob.digest} {error.message}", hint=hint) from None


def _inspect(file: io.FileIO, blob: BlobRecord) -> TarballInfo:
    if (size := os.fstat(file.fileno()).st_size) != blob.size:
        raise FormatError(f"should have {blob.size} bytes, but has {size}", hint=_CHANGED)
    compressed = _HashingReader(file, blob.size, "should have no")
    limit = max(LEAST_INFLATED, MOST_INFLATED * blob.size)
    # The buffer feeds the inflater in blocks; igzip is several times faster than zlib.
    prefix, folders, members, names = "", set(), 0, 0
    with (
        igzip.IGzipFile(fileobj=io.BufferedReader(compressed, BLOCK)) as inflater,  # type: ignore[no-untyped-call]
        _HashingReader(inflater, limit, "inflates to") as inflated,
    ):
        archive = io.BufferedReader(inflated, BLOCK)
        for member in read_members(archive):
            members += 1
            if members > MOST_MEMBERS:
                raise FormatError(f"has more than {MOST_MEMBERS} members")
            name = member.name.strip("/")
            if name.endswith(_MARK):
                prefix = name.removesuffix(_MARK)
            elif member.isdir() and name.endswith(_FOLDERS):
                names += len(name) if name not in folders else 0
                if names > NAMES_LIMIT:
                    raise FormatError(f"names folders of more than {NAMES_LIMIT} characters")
                folders.add(name)
        inflated.drain()
        compressed.drain()
        diff_id, uncompressed = inflated.digest(), inflated.count
    if compressed.digest() != blob.digest:
        raise FormatError(f"should be that, but is {compressed.digest()}", hint=_CHANGED)
    return TarballInfo(
        digest=blob.digest,
        size=blob.size,
        diff_id=diff_id,
        uncompressed=uncompressed,
        prefix=f"/{prefix}" if prefix else "",
        directories=tuple(folder for folder in _FOLDERS if prefix and f"{prefix}/{folder}" in folders),
    )

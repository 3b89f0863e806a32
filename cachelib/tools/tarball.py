"""Looks into a tarball of a buildcache entry: both digests and what lies where, in one pass, in constant memory."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import IO, Any

from isal import igzip, igzip_lib, isal_zlib

from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord, TarballInfo
from cachelib.model.errors import MirrorError
from cachelib.tools.files import BLOCK

# Spack, user_environment.py, prefix_inspections: folders of a prefix that show up in the environment.
_FOLDERS = (
    "bin", "man", "share/man", "share/aclocal", "lib", "lib64",
    "lib/pkgconfig", "lib64/pkgconfig", "share/pkgconfig",
)  # fmt: skip
# Every prefix describes itself in this file (Spack, store layout); so it tells where the prefix is.
_MARK = "/.spack/spec.json"
#: What inflating damaged bytes raises.
INFLATE_ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, igzip.BadGzipFile, igzip_lib.error, isal_zlib.error)  # type: ignore[assignment]
_DAMAGE: tuple[type[Exception], ...] = (*INFLATE_ERRORS, tarfile.TarError)


class _HashingReader(io.RawIOBase):
    """Hashes what passes through, so that no byte is read twice."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self._hash.update(data)
        self.count += len(data)
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        while self.read(BLOCK):
            pass

    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


def inspect_tarball(path: Path, blob: BlobRecord, label: str) -> TarballInfo:
    """Read a gzipped tarball once; raise MirrorError where its digest, its size or its format is wrong."""
    try:
        with path.open("rb", buffering=0) as file:
            return _inspect(file, blob)
    except FileNotFoundError:
        raise MirrorError(f"{label}: its tarball {blob.digest} is missing", hint="build the spec again") from None
    except _DAMAGE as error:
        raise MirrorError(f"{label}: its tarball {blob.digest} is damaged: {error}", hint="build the spec again") from None
    except ValueError as error:
        raise MirrorError(f"{label}: {error}", hint="the file was changed after it was written: build the spec again") from None


def _inspect(file: IO[bytes], blob: BlobRecord) -> TarballInfo:
    compressed = _HashingReader(file)
    # The buffer feeds the inflater in blocks; igzip is several times faster than zlib.
    prefix, folders = "", set()
    with (
        igzip.IGzipFile(fileobj=io.BufferedReader(compressed, BLOCK)) as inflater,  # type: ignore[no-untyped-call]
        _HashingReader(inflater) as inflated,
    ):
        with tarfile.open(fileobj=io.BufferedReader(inflated, BLOCK), mode="r|") as tar:
            for member in tar:
                name = member.name.strip("/")
                if name.endswith(_MARK):
                    prefix = name.removesuffix(_MARK)
                elif member.isdir() and name.endswith(_FOLDERS):
                    folders.add(name)
                tar.members = []  # type: ignore[attr-defined]  # tarfile remembers every member otherwise
        inflated.drain()
        compressed.drain()
        diff_id, uncompressed = inflated.digest(), inflated.count
    if compressed.digest() != blob.digest or compressed.count != blob.size:
        raise ValueError(f"its tarball should be {blob.digest} of {blob.size} bytes, but is {compressed.digest()} of {compressed.count}")
    return TarballInfo(
        digest=blob.digest,
        size=blob.size,
        diff_id=diff_id,
        uncompressed=uncompressed,
        prefix=f"/{prefix}" if prefix else "",
        directories=tuple(folder for folder in _FOLDERS if prefix and f"{prefix}/{folder}" in folders),
    )

"""Writing to disk so that a reader sees the old file or the new one, never half of either."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cachelib.model.errors import FormatError

#: Pieces that large files are read and sent in: 1 MiB.
BLOCK = 1024 * 1024
#: How the name of a file ends that is being written. One that is left over by a kill is swept up by name and age.
PARTIAL = ".partial"


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` when the block ends well, and vanishes when it doesn't."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=PARTIAL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; a cache is read by others.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content in one step."""
    with atomic_file(path) as file:
        file.write(data)


def read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file in blocks of a MiB."""
    while block := file.read(BLOCK):
        yield block


def open_plain(path: Path) -> io.FileIO:
    """Open a plain file for reading; raise OSError for a pipe or a device, which may have no end, or never begin."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        return io.FileIO(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read_limited(path: Path, limit: int, what: str) -> bytes:
    """A plain file, whole; raise FormatError, saying what it was meant to be, where it has more than `limit` bytes."""
    with io.BufferedReader(open_plain(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise FormatError(f"{what} of {size} bytes ({path}): no more than {limit} are read")
        return file.read(size)


def read_end(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a plain file."""
    with io.BufferedReader(open_plain(path)) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read(limit)


def sweep(folder: Path, *, before: float) -> int:
    """Delete what writers left that were killed before a moment (seconds since the epoch); return the bytes."""
    freed = 0
    for path in folder.rglob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):  # another sweeper may be faster
            status = path.stat()
            if status.st_mtime < before:
                path.unlink()
                freed += status.st_size
    return freed


def tree_digest(folder: Path, without: Path | None = None) -> str:
    """What the recipes in a folder say, in one digest: without what git keeps there, and what lies in the folder `without`."""
    hasher = hashlib.sha256()
    for path in _recipe_files(folder, (), without):
        hasher.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()


def _recipe_files(folder: Path, above: tuple[Path, ...], without: Path | None) -> Iterator[Path]:
    """The files below a folder, in order. Links are followed, as Spack follows them, but not in circles."""
    real = folder.resolve()
    if real in above or real == without:
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in ("__pycache__", ".git"):
            yield from _recipe_files(path, (*above, real), without)
        elif path.is_file():
            yield path

"""Writing to disk so that a reader sees the old file or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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

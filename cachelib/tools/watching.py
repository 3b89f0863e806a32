"""Notices that files are other ones than before, by looking again and again: that works on every disk, and takes no library."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

#: How often is looked, in seconds.
LOOK = 0.25

Seen = Mapping[str, tuple[int, int, int]]


def look(paths: Iterable[Path], apart: Iterable[Path] = ()) -> Seen:
    """What tells one state of files from another: of those named, and of all in the folders named but for the folders `apart`.

    Hidden files and backups are not looked at: editors write them beside what they edit.
    """
    found: dict[str, tuple[int, int, int]] = {}
    left_out = {str(path) for path in apart}
    for path in paths:
        _add(found, str(path))
        for folder, folders, names in os.walk(path):
            found[folder] = (0, 0, 0)  # that it is there; its times change with what is hidden in it, too
            folders[:] = [name for name in folders if not name.startswith(".") and str(Path(folder, name)) not in left_out]
            for name in names:
                if not name.startswith((".", "#")) and not name.endswith("~"):
                    _add(found, str(Path(folder, name)))
    return found


def _add(found: dict[str, tuple[int, int, int]], path: str) -> None:
    try:
        status = Path(path).stat()
    except OSError:
        return  # gone, or not there yet: to appear is a change
    if stat.S_ISREG(status.st_mode):
        found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)


def wait_for_change(seen: Seen, see: Callable[[], Seen]) -> None:
    """Wait until what is seen is other than it was, and stays so for a moment: before that, a file may be half written."""
    now = seen
    while now == seen:
        time.sleep(LOOK)
        now = see()
    while (later := _after(LOOK / 2, see)) != now:
        now = later


def _after(seconds: float, see: Callable[[], Seen]) -> Seen:
    time.sleep(seconds)
    return see()

"""Parts in a folder: what each slot of a plan hands on, as a mirror that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from cachelib.model.errors import FormatError, MirrorError
from cachelib.tools.mirror import DiskMirror

#: What a part may hold at most: files, and bytes of all of them. An artifact of GitHub is no larger.
MOST_FILES, MOST_BYTES = 100_000, 200 * 10**9
_BEING_WRITTEN = ".part-"


class Parts(Protocol):
    """What the workers of a plan hand on to each other, a mirror a slot."""

    def find(self, name: str) -> DiskMirror | None:
        """The part of a name, or nothing as long as it isn't there; raise FormatError where it holds what no mirror holds."""

    def lost(self, name: str, job: str, /) -> str:
        """Why a part that isn't there, and that a job was to hand on, will never come; nothing as long as it may."""

    def outdated(self, name: str, job: str, /) -> bool:
        """Whether the job that handed a part on is at it again: what it made before is then forgotten, and asked for anew."""

    def done(self, name: str, /) -> None:
        """Nobody asks for a part again: what can be fetched anew need not lie here."""

    @property
    def interval(self) -> float:
        """Seconds from one look for a part to the next."""

    def write(self, name: str) -> AbstractContextManager[DiskMirror]:
        """A new part, in the place of an older one; it gets its name when the block ends well, and nobody sees it before."""


class PartFolder:
    """Parts by their names, each a folder below one that workers share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, name: str) -> DiskMirror | None:
        """The part of a name, or nothing as long as it isn't there; raise FormatError where it holds what no mirror holds."""
        path = self._root / name
        if not path.is_dir() or path.is_symlink():
            return None
        check_tree(path)
        return DiskMirror(path)

    def lost(self, _name: str, _job: str, /) -> str:
        """Why a part that isn't there will never come; nothing as long as it may. A folder can't tell."""
        return ""

    def outdated(self, _name: str, _job: str, /) -> bool:
        """Whether the job that handed a part on is at it again. A folder can't tell."""
        return False

    def done(self, _name: str, /) -> None:
        """Nobody asks for a part again. This folder is the only place where it is, so it stays."""

    def forget(self, name: str) -> None:
        """Delete a part."""
        shutil.rmtree(self._root / name, ignore_errors=True)

    @property
    def interval(self) -> float:
        """Seconds from one look for a part to the next."""
        return 2.0

    @contextmanager
    def write(self, name: str) -> Iterator[DiskMirror]:
        """A new part, in the place of an older one; it gets its name when the block ends well, and nobody sees it before."""
        with self.scratch() as folder:
            try:
                yield DiskMirror(folder)
                folder.chmod(0o755)
                shutil.rmtree(self._root / name, ignore_errors=True)
                folder.rename(self._root / name)
            except OSError as error:
                hint = "is the disk full, or the folder not yours?"
                raise MirrorError(f"{self._root / name} can't be written: {error}", hint=hint) from None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder beside the parts that is gone when the block ends."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=_BEING_WRITTEN, dir=self._root))
        except OSError as error:
            raise MirrorError(f"{self._root}: no part can be written: {error}", hint="mend --parts") from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def check_tree(root: Path) -> None:
    """Raise FormatError where anything below a folder is no plain file or folder: a link would lead out of it."""
    files = size = 0
    for folder, folders, names in os.walk(root, followlinks=False):
        for name in (*folders, *names):
            status = Path(folder, name).lstat()
            if not stat.S_ISDIR(status.st_mode) and (not stat.S_ISREG(status.st_mode) or status.st_nlink > 1):
                raise FormatError(f"{root.name} holds {name!r}, which is no plain file")
            files, size = files + 1, size + status.st_size
        if files > MOST_FILES or size > MOST_BYTES:
            raise FormatError(f"{root.name} holds more than a part can hold")

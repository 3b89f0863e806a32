"""Reads the built documentation, which goes below docs/ of a site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cachelib.model.errors import RenderError
from cachelib.model.ports import File

#: What a folder has that Sphinx made: its first page, and what its search reads.
_SIGNS = ("index.html", "searchindex.js")


def docs_files(folder: Path) -> Iterator[File]:
    """Every file of the documentation, below docs/; what Sphinx keeps for itself stays behind. Raise RenderError."""
    if not all((folder / name).is_file() for name in _SIGNS):
        raise RenderError(f"{folder} holds no documentation", hint="`nox -s docs -- FOLDER` builds it there")
    return _files(folder)


def _files(folder: Path) -> Iterator[File]:
    for path in sorted(folder.rglob("*")):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in name.parts):
            yield "docs" / name, path.read_bytes()

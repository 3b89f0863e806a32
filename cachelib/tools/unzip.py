"""Unpacks a zip archive that may be hostile: nothing gets outside of its folder, and nothing grows past what it may."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from cachelib.model.errors import FormatError

_BLOCK = 1024 * 1024


def unpack(archive: Path, into: Path, *, files: int, size: int) -> None:
    """Unpack an archive of plain files into an empty folder; raise FormatError where it has anything else, or more.

    `files` and `size` (bytes) are what it may hold at most, counted while it is unpacked: what it says of itself may be a lie.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if len(members) > files:
                raise FormatError(f"{archive.name} holds {len(members)} files; it may hold {files}")
            for member in members:
                place = into / _safe(member)
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, place.open("xb") as target:
                    while block := source.read(_BLOCK):
                        size -= len(block)
                        if size < 0:
                            raise FormatError(f"{archive.name} unpacks to more than it may")
                        target.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"{archive.name} is no zip archive: {error}") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise FormatError(f"{archive.name} has one name for two things: {error}") from None


def _safe(member: zipfile.ZipInfo) -> PurePosixPath:
    """The place of a member below the folder it is unpacked into."""
    path, kind = PurePosixPath(member.filename), member.external_attr >> 16
    if stat.S_IFMT(kind) not in (0, stat.S_IFREG) or member.flag_bits & 1:
        raise FormatError(f"{member.filename!r} is no plain file")
    if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or "\0" in member.orig_filename or not path.parts:
        raise FormatError(f"{member.orig_filename!r} leads out of the archive")
    return path

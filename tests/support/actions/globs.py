"""Patterns of paths as @actions/glob reads them: a line each, `!` takes away, a folder means all below it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Found:
    """The files, and the folders (or files) that were searched."""

    files: list[Path]
    searched: list[Path]


@dataclass(frozen=True, slots=True)
class _Pattern:
    negative: bool
    start: Path
    regex: re.Pattern[str]


def translate(pattern: str) -> str:
    """The regular expression of one pattern, in which `*` crosses no slash and `**` does."""
    parts, out = pattern.split("/"), ""
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "**":
            out += "(?:.*)" if last else "(?:[^/]+/)*"
            continue
        for piece in re.findall(r"\[[^\]]+\]|.", part):
            out += {"*": "[^/]*", "?": "[^/]"}.get(piece) or (piece.replace("[!", "[^") if len(piece) > 1 else re.escape(piece))
        out += "" if last else "/"
    return out


def _parse(line: str, root: Path) -> _Pattern:
    negative, text = line.startswith("!"), line.lstrip("!").strip()
    whole = os.path.normpath(root / text)
    parts = whole.split("/")
    literal = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return _Pattern(negative, Path("/".join(parts[:literal]) or "/"), re.compile(translate(whole) + "(?:/.*)?", re.DOTALL))


def search(text: str, root: Path, *, hidden: bool = True) -> Found:
    """All files that fit; without `hidden`, nothing whose name or whose folder's name begins with a dot below what is searched."""
    lines = [line.strip() for line in text.splitlines()]
    patterns = [_parse(line, root) for line in lines if line and not line.startswith("#")]
    starts = list(dict.fromkeys(pattern.start for pattern in patterns if not pattern.negative))
    starts = [start for start in starts if not any(start != other and start.is_relative_to(other) for other in starts)]
    files: list[Path] = []
    for start in starts:
        files += [path for path in _walk(start, hidden) if _fits(str(path), patterns)]
    return Found(sorted(files), starts)


def _fits(path: str, patterns: list[_Pattern]) -> bool:
    fits = False
    for pattern in patterns:
        if pattern.regex.fullmatch(path):
            fits = not pattern.negative
    return fits


def _walk(start: Path, hidden: bool) -> list[Path]:
    # The place itself counts, too: what is below `.hidden` is hidden, even if it was asked for by this name.
    if not start.exists() or (start.name.startswith(".") and not hidden):
        return []
    if start.is_file():
        return [start]
    found = []
    for folder, folders, names in os.walk(start, followlinks=True):
        folders[:] = sorted(name for name in folders if hidden or not name.startswith("."))
        found += [Path(folder, name) for name in names if (hidden or not name.startswith(".")) and Path(folder, name).is_file()]
    return found

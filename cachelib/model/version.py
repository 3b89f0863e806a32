"""Versions as Spack orders and means them (Spack, version_types.py and spec_parser.py, v1.1)."""

from __future__ import annotations

import re

from cachelib.model.errors import FormatError

# In this order they come after every number, as in Spack.
_BRANCHES = ("stable", "nightly", "trunk", "head", "master", "main", "develop")
_PRERELEASES = {"alpha": 0, "beta": 1, "rc": 2}
_FINAL = (3,)
_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+")
_VERSION = r"[A-Za-z0-9_](?:[\w.-]*\w)?"
_WANTED = re.compile(rf"=?{_VERSION}|(?:{_VERSION})?:(?:{_VERSION})?", re.ASCII)
# What a git reference stands for is told behind its `=`.
_GIT = re.compile(r"(?:git\.[\w./-]+|[0-9A-Fa-f]{40})=(?P<version>.+)", re.ASCII)
#: Python reads no longer numbers, and nobody writes them.
_LONGEST = 256

_Segment = tuple[int, int | str]
VersionKey = tuple[tuple[_Segment, ...], tuple[int, ...]]
_MAXIMUM: VersionKey = (((2, len(_BRANCHES)),), _FINAL)


def version_key(version: str) -> VersionKey:
    """Sorts versions as Spack does: 1.10 after 1.9; 1.2-rc1 before 1.2; a branch (develop, main) after every number."""
    git = _GIT.fullmatch(version)
    parts = _SEGMENT.findall(git["version"] if git else version)
    before: tuple[int, ...] = _FINAL
    if len(parts) >= 3 and parts[-2] in _PRERELEASES and parts[-1].isdigit():
        before = (_PRERELEASES[parts[-2]], _number(parts[-1]))
        parts = parts[:-2]
    elif len(parts) >= 2 and parts[-1] in _PRERELEASES:
        before = (_PRERELEASES[parts[-1]],)
        parts = parts[:-1]
    return tuple(map(_segment, parts)), before


def check_version(wanted: str) -> str:
    """What a request may say of a version: `1.2`, `=1.2`, `1.2:1.4`, `git.main=1.2`; raise FormatError for anything else."""
    if len(wanted) > _LONGEST or not (_WANTED.fullmatch(wanted) or _GIT.fullmatch(wanted)):
        raise FormatError(f"{wanted[:40]!r} is no version, and no range of versions")
    low, _, high = wanted.partition(":")
    if low and high and version_key(low) >= _next(version_key(high)):
        raise FormatError(f"{wanted!r} is an empty range: {low} comes after {high}")
    return wanted


def in_range(version: str, wanted: str) -> bool:
    """Whether a version is one that Spack means by `wanted`: `1.2` (and 1.2.x), `=1.2` (alone), `1.2:1.4`, `1.2:`, `:1.4`."""
    if _GIT.fullmatch(wanted):
        return version == wanted
    key = version_key(version)
    if wanted.startswith("="):
        return key == version_key(wanted[1:])
    low, colon, high = wanted.partition(":")
    # An upper bound takes in what it is the beginning of: `:1.4` has 1.4.9 in it.
    above = not low or version_key(low) <= key
    return above and key < _next(version_key(high if colon else low) if high or not colon else _MAXIMUM)


def _next(key: VersionKey) -> VersionKey:
    """What comes after a version and all that begins with it."""
    release, before = key
    if before != _FINAL:
        return release, (before[0], before[1] + 1 if len(before) > 1 else 0)
    if not release:
        return ((0, "A"),), _FINAL
    kind, last = release[-1]
    return (*release[:-1], (kind, last + 1 if isinstance(last, int) else _next_text(last))), _FINAL


def _next_text(text: str) -> str:
    if text.endswith("z"):
        return text + "A"
    following = text[:-1] + ("a" if text.endswith("Z") else chr(ord(text[-1]) + 1))
    return _next_text(following) if following in _BRANCHES else following


def _segment(part: str) -> _Segment:
    if part.isdigit():
        return 1, _number(part)
    return (2, _BRANCHES.index(part)) if part in _BRANCHES else (0, part)


def _number(digits: str) -> int:
    return int(digits[:_LONGEST])

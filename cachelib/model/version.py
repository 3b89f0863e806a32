"""Versions as people and Spack order them."""

from __future__ import annotations

_BRANCHES = frozenset({"develop", "main", "master", "head", "trunk", "stable"})

VersionKey = tuple[tuple[int, int | str], ...]


def version_key(version: str) -> VersionKey:
    """Sorts versions as people do: 1.10 after 1.9; a name (develop, main) after every number, as in Spack."""
    parts: list[tuple[int, int | str]] = []
    for part in version.replace("-", ".").replace("_", ".").split("."):
        # Digits of other scripts count as text: int() would read some of them and fail on others.
        parts.append((1, int(part)) if part.isascii() and part.isdigit() else ((2 if part in _BRANCHES else 0), part))
    return tuple(parts)


def in_range(version: str, wanted: str) -> bool:
    """Whether a version is one that Spack means by `wanted`: `1.2` (and 1.2.x), `=1.2` (alone), `1.2:1.4`, `1.2:`, `:1.4`."""
    key = version_key(version)
    if wanted.startswith("="):
        return version == wanted[1:]
    low, colon, high = wanted.partition(":")
    if not colon:
        return key[: len(version_key(low))] == version_key(low)
    # An upper bound takes in what it is the beginning of: `:1.4` has 1.4.9 in it (Spack, version_types.py).
    above = not low or key >= version_key(low) or key[: len(version_key(low))] == version_key(low)
    return above and (not high or key[: len(version_key(high))] <= version_key(high))

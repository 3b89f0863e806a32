"""Where packages lie in a container, and where those that need them look: not all were built below one path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set

# Spack's install path ends in the DAG hash (config:install_tree:projections). No `.` or `..`, and nothing that a tarball can't name.
_PREFIX = re.compile(r"((?:/(?!\.{1,2}/)[^/:\x00-\x1f\x7f]+)*?/[^/:\x00-\x1f\x7f]*-([a-z2-7]{32}))(?:/.*)?")


def places(env: Mapping[str, str], hashes: Set[str]) -> dict[str, str]:
    """Where packages are installed by what the environment of an image says, by DAG hash; those that it doesn't name are left out."""
    found: dict[str, str] = {}
    for path in (path for value in env.values() for path in value.split(":")):
        match = _PREFIX.fullmatch(path)
        if match and match[2] in hashes:
            found.setdefault(match[2], match[1])
    return found


def links(environments: Mapping[str, Mapping[str, str]], parts: Iterable[str]) -> dict[str, str]:
    """Where packages of a container are looked for and don't lie, and where they do.

    `environments` are those of the packages' own images, by DAG hash: each tells where it lies, and where it found what it needs.
    """
    known = frozenset(parts)
    told = {h: places(environments.get(h, {}), known) for h in known}
    lies = {h: there[h] for h, there in told.items() if h in there}
    return {
        path: lies[h]
        for there in told.values()
        for h, path in there.items()
        if h in lies and path != lies[h]
    }  # fmt: skip

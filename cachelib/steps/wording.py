"""Says in words what a spec says in signs."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: What the recipe decides and nobody chooses: it tells no two builds of a package apart.
_UNSAID = frozenset({"build_system", "generator"})
_FLAG = re.compile(r"([+~])([\w.-]+)")
_VALUE = re.compile(r"([\w.-]+)=(.*)", re.DOTALL)
#: So many stand on a page; a package of more has its variants in the API.
MOST = 60


def variant_words(variants: str) -> tuple[str, ...]:
    """`+mpi ~shared api=v110 build_system=cmake` as ("with mpi", "api=v110", "without shared"): what is there before what is not."""
    ranked = sorted(_words(variants), key=lambda pair: pair[0])
    return tuple(word for _, word in ranked)[:MOST]


def _words(variants: str) -> Iterator[tuple[int, str]]:
    for token in _tokens(variants):
        flag, value = _FLAG.fullmatch(token), _VALUE.fullmatch(token)
        if flag and flag[2] not in _UNSAID:
            yield (0, f"with {flag[2]}") if flag[1] == "+" else (2, f"without {flag[2]}")
        elif value and value[1] == "patches":
            count = value[2].count(",") + 1
            yield 1, "with a patch" if count == 1 else f"with {count} patches"
        elif value and value[1] not in _UNSAID:
            yield 1, token


def _tokens(variants: str) -> list[str]:
    """The variants one by one; a value may hold spaces (`cflags=-O2 -g`)."""
    found: list[str] = []
    for token in variants.split(" "):
        if _FLAG.fullmatch(token) or _VALUE.fullmatch(token) or not found:
            found.append(token)
        else:
            found[-1] += f" {token}"
    return found

"""Decides which packages a run without requests takes: by chance, the same again for the same seed, and only what can be built.

Each package has a place of its own in the order, which hangs on the seed and its name alone: a package that comes or goes
elsewhere moves no other, so it changes one pick at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from cachelib.model.catalog import Catalog
from cachelib.model.failure import Failure

#: As many packages are looked at together at least: each look starts Spack once, and each package takes it some milliseconds.
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A package whose turn it was, and why it was not taken."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The packages that are to be built, in the order of their turns, and those that were passed over on the way."""

    names: tuple[str, ...] = ()
    passed: tuple[Passed, ...] = ()


def pick(
    names: Iterable[str],
    count: int,
    seed: str,
    *,
    cached: Set[str],
    failing: Mapping[str, str],
    facts: Callable[[Sequence[str]], Mapping[str, str]],
) -> Pick:
    """So many packages, those that the cache lacks first; fewer where no more can be built.

    `failing` says why what failed lately isn't tried again yet. `facts` says why each of some packages can't be built, or nothing;
    it takes its time, so only those are asked for whose turn it is.
    """
    waiting = sorted(set(names), key=lambda name: (name in cached, _turn(seed, name), name))
    chosen: list[str] = []
    passed: list[Passed] = []
    while waiting and len(chosen) < count:
        size = max(BATCH, count - len(chosen))
        batch, waiting = waiting[:size], waiting[size:]
        asked = [name for name in batch if name not in failing]
        known = facts(asked) if asked else {}
        for name in batch:
            if len(chosen) == count:
                break
            if reason := failing.get(name) or known[name]:
                passed.append(Passed(name=name, reason=reason))
            else:
                chosen.append(name)
    return Pick(names=tuple(chosen), passed=tuple(passed))


def cached_names(catalog: Catalog) -> frozenset[str]:
    """The names of the packages of which the catalog has a build, be it of whatever version."""
    return frozenset(catalog.name(h) for h in catalog.entries)


def failing_names(failures: Iterable[Failure], now: datetime) -> dict[str, str]:
    """The names of the packages that failed so lately that they aren't tried again yet, and why.

    By name and not by hash: a new version of what failed yesterday is no better bet than a package that nobody tried.
    """
    found: dict[str, Failure] = {}
    for failure in failures:
        name = failure.label.partition("@")[0]
        if failure.next_try() > now and (name not in found or failure.next_try() > found[name].next_try()):
            found[name] = failure
    return {name: f"{failure.told()}; it is tried again on {failure.next_try():%Y-%m-%d}" for name, failure in found.items()}


def _turn(seed: str, name: str) -> bytes:
    """Where a package stands in the order of a seed."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()

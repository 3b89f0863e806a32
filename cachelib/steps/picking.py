"""Picks packages for a run that nobody asked anything of: by a seed, so that the same pick can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

#: Of so many packages at a time the recipes are looked into: that is what takes the time.
BATCH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The packages that were picked, in order, and those that were passed over, with the reason."""

    names: tuple[str, ...]
    passed: Mapping[str, str]


def pick(
    names: Iterable[str],
    count: int,
    seed: str,
    *,
    cached: Set[str],
    failing: Mapping[str, str],
    unfit: Callable[[list[str]], Mapping[str, str]],
) -> Picked:
    """Pick so many packages: those that the cache has no build of come first, what failed lately waits.

    `unfit` says of some packages why they can't be built or given away. The order of a package hangs on the seed and its own name alone,
    so another package that comes or goes changes no more than one pick.
    """
    order = sorted(names, key=lambda name: (name in cached, hashlib.sha256(f"{seed}\n{name}".encode()).digest()))
    chosen: list[str] = []
    passed = {name: failing[name] for name in order if name in failing}
    waiting = [name for name in order if name not in failing]
    while waiting and len(chosen) < count:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        reasons = unfit(batch)
        for name in batch:
            if len(chosen) == count:
                break
            if reason := reasons.get(name, ""):
                passed[name] = reason
            else:
                chosen.append(name)
    return Picked(names=tuple(chosen), passed=passed)

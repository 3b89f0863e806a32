"""Plays a schedule through as it may really go: other times than thought, builds that fail, runners that die."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum

from cachelib.model.schedule import Costs, Schedule, Work


class Fate(Enum):
    """What became of a spec when a schedule was played through."""

    BUILT = "built"
    FAILED = "failed"
    SKIPPED = "skipped"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The fate of each spec of a schedule, and when the last worker was done (seconds)."""

    fates: Mapping[str, Fate]
    seconds: float


def play(
    schedule: Schedule,
    works: Mapping[str, Work],
    costs: Costs,
    *,
    failing: Set[str] = frozenset(),
    deaths: Mapping[int, float] | None = None,
) -> Played:
    """Let each worker go through its slots; raise ValueError where they wait for each other in a circle.

    `works` tell how long each build really takes, `failing` those that fail, `deaths` the moments (seconds) at which workers die.
    A slot begins when the fate of all that it waits for is known; what is handed on is what its worker had finished by its end.
    """
    place, dead = schedule.place(), deaths or {}
    fates: dict[str, Fate] = {}
    known: dict[str, float] = {}
    free = dict.fromkeys(range(len(schedule.workers)), costs.job)
    waiting = {at: list(slots) for at, slots in enumerate(schedule.workers)}
    while any(waiting.values()):
        able = [at for at, slots in waiting.items() if slots and all(need in known for need in slots[0].waits)]
        if not able:
            raise ValueError("the slots of a schedule wait for each other in a circle")
        for at in able:
            slot = waiting[at].pop(0)
            now = max([free[at], *(known[need] for need in slot.waits)]) + costs.slot
            found: dict[str, Fate] = {}
            for h in slot.builds:
                needs = (found.get(need, fates.get(need)) for need in works[h].needs if need in place)
                if any(fate is not Fate.BUILT for fate in needs):
                    found[h] = Fate.SKIPPED
                    continue
                now += works[h].seconds
                found[h] = Fate.FAILED if h in failing else Fate.BUILT
            if now > dead.get(at, float("inf")):
                # Of a slot that isn't handed on nothing is left, nor of those after it; that a worker died is soon known.
                now, lost = dead[at], [h for left in (slot, *waiting[at]) for h in left.builds]
                found, waiting[at] = dict.fromkeys(lost, Fate.LOST), []
            free[at] = now
            fates |= found
            known |= dict.fromkeys(found, now)
    return Played(fates=fates, seconds=max(free.values(), default=0.0))

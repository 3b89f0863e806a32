"""Decides who builds what in which order, and how many workers are worth their start.

A wave for each level of the DAG would wait for the slowest spec of every level. Here a worker goes on with whatever can be
built next, and waits only where it needs what another one is still building.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cachelib.model.schedule import Costs, LeftOver, Limits, Schedule, Slot, Work
from cachelib.steps.drafting import Draft, draft
from cachelib.steps.timing import bottom_levels, measure

#: As few workers as come within this share of the best time.
ENOUGH = 1.05
#: Of those, as few as come within this share of the best average where times are other than thought.
STEADY = 1.01
#: So many seconds are not worth another runner.
_NOTHING = 30.0
#: For how many seconds a slot is held open at least, as is tried out: short ones hand over soon, long ones cost less.
_HOLDS = (0.0, 120.0, 300.0, 600.0, 1200.0)
#: Of how many other days each draft is judged too: nobody knows beforehand how long a build takes.
_DAYS = 6
#: By how much a build may take longer, or less long, than is thought.
_OFF = 2.0


def make_schedule(works: Sequence[Work], *, limits: Limits, costs: Costs) -> Schedule:
    """The schedule of all works that fit; `needs` of works that are not among them are there already."""
    hashes = {work.hash for work in works}
    graph = {work.hash: replace(work, needs=tuple(sorted(hashes.intersection(work.needs)))) for work in works}
    if not graph:
        return Schedule()
    chosen = _fewest(graph, limits, costs)
    levels = bottom_levels(graph)
    return Schedule(
        workers=tuple(tuple(_slot(slot, graph, slots[:at]) for at, slot in enumerate(slots)) for slots in chosen.layout),
        left_over=tuple(_left(graph[h], limits) for h in sorted(chosen.left, key=lambda h: (-levels[h], h))),
        seconds=chosen.seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A draft, how many workers it has, and how long it takes on the average of several days (seconds)."""

    draft: Draft
    workers: int
    average: float


def _fewest(graph: Mapping[str, Work], limits: Limits, costs: Costs) -> Draft:
    """The draft of as few workers as come near the best, also where times are other than thought. Leaving less over comes first."""
    levels = bottom_levels(graph)
    days = [{h: replace(work, seconds=work.seconds * _OFF ** _luck(day, h)) for h, work in graph.items()} for day in range(_DAYS)]
    most = min(limits.workers, len(graph))
    counts = sorted({most, *(count for step in range(1, 60) if (count := max(round(1.25**step), min(step, 8))) <= most)})
    judged = []
    for count in counts:
        for hold in _HOLDS:
            found = draft(graph, levels, workers=count, hold=hold, limits=limits, costs=costs)
            average = sum(measure(found.layout, day, costs).seconds for day in days) / len(days)
            judged.append(_Judged(draft=found, workers=count, average=average))
    left = min(len(found.draft.left) for found in judged)
    judged = [found for found in judged if len(found.draft.left) == left]
    near = [found for found in judged if _near(found.draft.seconds, min(other.draft.seconds for other in judged), ENOUGH)]
    return next(found.draft for found in near if _near(found.average, min(other.average for other in near), STEADY))


def _near(seconds: float, best: float, share: float) -> bool:
    return seconds <= max(share * best, best + _NOTHING)


def _luck(day: int, dag_hash: str) -> float:
    """From -1 to 1, the same each time: a schedule hangs on nothing but its graph."""
    return int.from_bytes(hashlib.sha256(f"{day} {dag_hash}".encode()).digest()[:4], "big") / 2**31 - 1


def _slot(hashes: Sequence[str], graph: Mapping[str, Work], before: Iterable[Sequence[str]]) -> Slot:
    own = {h for slot in before for h in slot} | set(hashes)
    return Slot(builds=tuple(hashes), waits=tuple(sorted({need for h in hashes for need in graph[h].needs if need not in own})))


def _left(work: Work, limits: Limits) -> LeftOver:
    if work.seconds > limits.seconds:
        return LeftOver(hash=work.hash, reason=f"it takes {work.seconds / 3600:.1f} h, longer than a job may run")
    return LeftOver(hash=work.hash, reason="no time in this run")

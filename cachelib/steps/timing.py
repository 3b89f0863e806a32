"""When each slot of a schedule begins and ends: the arithmetic that schedules are chosen by, and played through with."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cachelib.model.schedule import Costs, Work

#: Of each worker, its slots; of each slot, the DAG hashes in the order in which they are built.
Layout = tuple[tuple[tuple[str, ...], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When all is done (infinite where slots wait for each other in a circle), and when each spec is handed on (seconds)."""

    seconds: float
    ends: Mapping[str, float]


def bottom_levels(graph: Mapping[str, Work]) -> dict[str, float]:
    """Of each spec the seconds from its start until all that needs it is built, had it workers without number."""
    levels = {h: work.seconds for h, work in graph.items()}
    for h in reversed(topological(graph)):
        for need in graph[h].needs:
            levels[need] = max(levels[need], graph[need].seconds + levels[h])
    return levels


def bound(graph: Mapping[str, Work], workers: int, costs: Costs) -> float:
    """No schedule is faster: a runner must start, then there is the longest chain, and the work to be shared out (seconds)."""
    if not graph:
        return 0.0
    return costs.job + max(max(bottom_levels(graph).values()), sum(work.seconds for work in graph.values()) / workers)


def measure(layout: Layout, graph: Mapping[str, Work], costs: Costs) -> Timing:
    """Let every slot begin when its worker is free and all that it needs from others is handed on."""
    slots = [slot for worker in layout for slot in worker]
    place = {h: number for number, slot in enumerate(slots) for h in slot}
    before: list[set[int]] = []
    first = 0
    for worker in layout:
        for at, slot in enumerate(worker):
            number = first + at
            wanted = {place[need] for h in slot for need in graph[h].needs if need in place}
            wanted.discard(number)
            if at:
                wanted.add(number - 1)
            before.append(wanted)
        first += len(worker)
    after: list[list[int]] = [[] for _ in slots]
    left = [len(wanted) for wanted in before]
    for number, wanted in enumerate(before):
        for other in wanted:
            after[other].append(number)
    ends = [0.0] * len(slots)
    ready = [number for number, count in enumerate(left) if count == 0]
    for number in ready:
        start = max((ends[other] for other in before[number]), default=0.0)
        ends[number] = max(start, costs.job) + costs.slot + sum(graph[h].seconds for h in slots[number])
        for other in after[number]:
            left[other] -= 1
            if left[other] == 0:
                ready.append(other)
    if len(ready) < len(slots):
        return Timing(seconds=float("inf"), ends={})
    return Timing(seconds=max(ends, default=0.0), ends={h: ends[number] for number, slot in enumerate(slots) for h in slot})


def level_waves(graph: Mapping[str, Work], workers: int, costs: Costs) -> float:
    """What the same takes where all of a level of the DAG is built, a job each, before the next level begins (seconds)."""
    levels: dict[int, list[float]] = {}
    depth: dict[str, int] = {}
    for h in topological(graph):
        depth[h] = 1 + max((depth[need] for need in graph[h].needs), default=-1)
        levels.setdefault(depth[h], []).append(costs.job + costs.slot + graph[h].seconds)
    return sum(_shared(jobs, workers) for jobs in levels.values())


def job_per_root(graph: Mapping[str, Work], workers: int, costs: Costs) -> float:
    """What the same takes where each spec that none other needs is a job, which builds all that it needs by itself (seconds)."""
    needed = {need for work in graph.values() for need in work.needs}
    jobs = []
    for root in graph.keys() - needed:
        closure, waiting = {root}, [root]
        while waiting:
            new = set(graph[waiting.pop()].needs) - closure
            closure |= new
            waiting += new
        jobs.append(costs.job + costs.slot + sum(graph[h].seconds for h in closure))
    return _shared(jobs, workers)


def topological(graph: Mapping[str, Work]) -> list[str]:
    """All hashes, what is needed first; those in a circle are left out."""
    users: dict[str, list[str]] = {h: [] for h in graph}
    missing = {h: len(work.needs) for h, work in graph.items()}
    for work in graph.values():
        for need in work.needs:
            users[need].append(work.hash)
    order = [h for h, count in missing.items() if count == 0]
    for h in order:
        for user in users[h]:
            missing[user] -= 1
            if missing[user] == 0:
                order.append(user)
    return order


def _shared(jobs: Iterable[float], workers: int) -> float:
    """The longest first, each to the runner that is free first."""
    free = [0.0] * workers
    for seconds in sorted(jobs, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)

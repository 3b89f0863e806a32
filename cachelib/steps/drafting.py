"""Plays a run forward, worker by worker, deciding on the way who builds what: list scheduling by critical path, in slots.

What a worker builds is at hand for itself at once, and for the others when its slot ends. So a slot ends when nothing is
left that the worker could go on with, or when others stand idle and what it holds is worth handing over.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from cachelib.model.schedule import Costs, Limits, Work
from cachelib.steps.timing import Layout

#: A slot that is thought to have taken so long (seconds) by now is handed on.
_LONGEST_SLOT = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The slots of each worker, what found no place, and when the last one is done (seconds)."""

    layout: Layout
    left: frozenset[str]
    seconds: float


@dataclass(slots=True)
class _Worker:
    """One worker at a moment: its slots, the last of which may be open, and what it alone can build."""

    slots: list[list[str]] = field(default_factory=list)
    open_since: float | None = None
    own: list[tuple[float, str]] = field(default_factory=list)


def draft(graph: Mapping[str, Work], levels: Mapping[str, float], *, workers: int, hold: float, limits: Limits, costs: Costs) -> Draft:
    """Play a run of so many workers through. A slot is held open for at least `hold` seconds where there is something to build."""
    return _Play(graph, levels, workers, hold, limits, costs).run()


class _Play:
    """The state of a run while it is played."""

    def __init__(
        self, graph: Mapping[str, Work], levels: Mapping[str, float], workers: int, hold: float, limits: Limits, costs: Costs
    ) -> None:
        self._graph, self._levels, self._hold, self._limits, self._costs = graph, levels, hold, limits, costs
        self._workers = [_Worker() for _ in range(workers)]
        self._users: dict[str, list[str]] = {h: [] for h in graph}
        for work in graph.values():
            for need in work.needs:
                self._users[need].append(work.hash)
        self._builder: dict[str, int] = {}
        self._handed: dict[str, float] = {}
        self._taken: set[str] = set()
        self._shared: list[tuple[float, str]] = []
        self._awake = [(costs.job, at) for at in range(workers)]
        self._idle: set[int] = set()
        self._building: dict[int, str] = {}
        for h, work in graph.items():
            if not work.needs:
                heapq.heappush(self._shared, (-levels[h], h))

    def run(self) -> Draft:
        """From the first runner's start to the last slot's end."""
        last = 0.0
        while self._awake:
            now, at = heapq.heappop(self._awake)
            self._built(at)
            worker = self._workers[at]
            h = self._next(worker)
            if worker.open_since is not None and (not h or self._should_hand_over(worker, at, h, now)):
                last = max(last, now)
                self._hand_over(worker, now)
                h = self._next(worker)
            if not h:
                self._idle.add(at)
                continue
            fresh = worker.open_since is None
            end = now + self._graph[h].seconds + (self._costs.slot if fresh else 0.0)
            if fresh and len(worker.slots) == self._limits.slots:
                continue  # it has no slot left, and is done; others may
            if end > self._limits.seconds:
                self._give_up(h)
                heapq.heappush(self._awake, (now, at))
                continue
            self._taken.add(h)
            if fresh:
                worker.slots.append([])
                worker.open_since = now
            worker.slots[-1].append(h)
            self._builder[h], self._building[at] = at, h
            heapq.heappush(self._awake, (end, at))
        left = frozenset(self._graph.keys() - self._builder.keys())
        return Draft(layout=tuple(tuple(map(tuple, worker.slots)) for worker in self._workers if worker.slots), left=left, seconds=last)

    def _built(self, at: int) -> None:
        """A worker has built something: it can go on with what needs only that."""
        h = self._building.pop(at, "")
        for user in self._users[h] if h else ():
            if user not in self._taken and all(need in self._handed or self._builder.get(need) == at for need in self._graph[user].needs):
                heapq.heappush(self._workers[at].own, (-self._levels[user], user))

    def _should_hand_over(self, worker: _Worker, at: int, following: str, now: float) -> bool:
        """Whether the next spec needs what came after the slot began, or others could go on with what this slot holds."""
        if worker.open_since is None:
            return False
        # A job that dies loses the slot that it was at.
        if now - worker.open_since >= _LONGEST_SLOT and len(worker.slots) < self._limits.slots:
            return True
        if len(self._workers) == 1:
            return False
        needs = self._graph[following].needs
        if any(self._builder[need] != at and self._handed[need] > worker.open_since for need in needs):
            return True
        for_long = self._graph[following].seconds >= self._hold or (self._idle and now - worker.open_since >= self._hold)
        if not for_long or len(worker.slots) == self._limits.slots:
            return False
        held = set(worker.slots[-1])
        waiting = (user for h in held for user in self._users[h] if user not in self._taken and user != following)
        return any(all(need in self._builder for need in self._graph[user].needs) for user in waiting)

    def _hand_over(self, worker: _Worker, now: float) -> None:
        worker.open_since = None
        new = worker.slots[-1]
        self._handed.update(dict.fromkeys(new, now))
        for user in dict.fromkeys(user for h in new for user in self._users[h]):
            if user not in self._taken and all(need in self._handed for need in self._graph[user].needs):
                heapq.heappush(self._shared, (-self._levels[user], user))
        for at in sorted(self._idle):
            heapq.heappush(self._awake, (now, at))
        self._idle.clear()

    def _next(self, worker: _Worker) -> str:
        """What the longest chain hangs on, of all that this worker could build now."""
        for heap in (worker.own, self._shared):
            while heap and heap[0][1] in self._taken:
                heapq.heappop(heap)
        best = min((heap[0] for heap in (worker.own, self._shared) if heap), default=None)
        return best[1] if best else ""

    def _give_up(self, root: str) -> None:
        """There is no time for a spec, nor for what needs it."""
        waiting = [root]
        while waiting:
            h = waiting.pop()
            if h not in self._taken:
                self._taken.add(h)
                waiting += self._users[h]

"""The tables of docs/explanation/scheduling.md: python -m tests.bench.schedules writes them; the same code gives the same page."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cachelib.model.schedule import Costs, Limits, Work
from cachelib.steps.building import parse_lock
from cachelib.steps.scheduling import make_schedule
from cachelib.steps.timing import bound, job_per_root, level_waves
from cachelib.tools.files import write_atomically

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "explanation" / "scheduling.md"
LOCK = PROJECT / "tests" / "data" / "spack.lock"
#: Copies of the real graph, for about 100, 1,000 and 10,000 specs.
COPIES = (1, 8, 80)
#: Runners of the parts of GitHub's offer: few, a free account's, a Team's, an Enterprise's.
RUNNERS = (5, 20, 60, 500)
#: The table goes between these two lines of the page.
BEGIN, END = "<!-- Made by `python -m tests.bench.schedules`: run it anew where the scheduler changes. -->", "<!-- made until here -->"
_SEED = 20261123


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What so many specs take on so many runners; times are in seconds."""

    specs: int
    runners: int
    seconds: float
    bound: float
    waves: float
    job_per_request: float
    used: int
    left: int

    def line(self) -> str:
        """The row in Markdown, its times in whole minutes."""
        times = (f"{seconds / 60:,.0f}" for seconds in (self.seconds, self.bound, self.waves, self.job_per_request))
        return f"| {self.specs:,} | {self.runners} | {' | '.join(times)} | {self.used} | {self.left:,} |"


def copied(copies: int) -> dict[str, Work]:
    """The graph of a real stack, so many times over: no copy needs another, and each build takes a time of its own."""
    chance = random.Random(_SEED)
    nodes = parse_lock(json.loads(LOCK.read_text(encoding="utf-8"))).buildable()
    hashes = {node.hash for node in nodes}
    return {
        f"{node.hash}-{copy}": Work(
            hash=f"{node.hash}-{copy}", label=f"{node.label}-{copy}", seconds=min(chance.lognormvariate(4.6, 1.2), 7200.0),
            needs=tuple(f"{edge.hash}-{copy}" for edge in node.dependencies if edge.hash in hashes),
        )
        for copy in range(copies)
        for node in nodes
    }  # fmt: skip


def rows(copies: int, runners: Sequence[int] = RUNNERS) -> Iterator[Row]:
    """The lines of the table for one size."""
    graph: Mapping[str, Work] = copied(copies)
    costs = Costs()
    for count in runners:
        made = make_schedule(list(graph.values()), limits=replace(Limits(), workers=count), costs=costs)
        yield Row(
            specs=len(graph), runners=count, seconds=made.seconds, bound=bound(graph, count, costs),
            waves=level_waves(graph, count, costs), job_per_request=job_per_root(graph, count, costs),
            used=len(made.workers), left=len(made.left_over),
        )  # fmt: skip


def with_table(page: str, lines: Sequence[str]) -> str:
    """The page with these lines as the rows of its table."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    title = (
        "| specs | runners | minutes | lower bound | waves by level | a job per request | jobs used | left over |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    return "\n".join([f"{head}{BEGIN}\n", title, *lines, f"\n{END}{tail}"])


def main() -> None:
    """Reckon the table, say how long each size took, and write it into the page."""
    lines = []
    for copies in COPIES:
        began = time.monotonic()
        found = list(rows(copies))
        lines += [row.line() for row in found]
        print("\n".join(row.line() for row in found), f"{time.monotonic() - began:.0f} s", sep="\n", file=sys.stderr, flush=True)
    write_atomically(PAGE, with_table(PAGE.read_text(encoding="utf-8"), lines).encode())


if __name__ == "__main__":
    main()

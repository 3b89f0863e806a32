"""What stacks of 100, 1,000 and 10,000 specs cost on 5, 20, 60 and 500 runners; docs/explanation/scheduling.md is made from it.

    python -m tests.bench.schedules [--docs]

The graph is that of a real lock, in copies that share nothing; the times are log-normal, from a fixed seed. Nothing is built.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from cachelib.model.schedule import Costs, Limits, Work
from cachelib.steps.building import parse_lock
from cachelib.steps.planning import needed
from cachelib.steps.scheduling import make_schedule
from cachelib.steps.timing import bound, job_per_root, level_waves

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs/explanation/scheduling.md"
SIZES, RUNNERS = (100, 1000, 10000), (5, 20, 60, 500)
_BEGIN, _END = "<!-- table: made by `python -m tests.bench.schedules --docs` -->\n", "<!-- end of the table -->\n"


def works(size: int) -> list[Work]:
    """The real graph, once for about every hundred specs."""
    lock = parse_lock(json.loads((PROJECT / "tests/data/spack.lock").read_text(encoding="utf-8")))
    wanted = needed(lock, {})
    draw = random.Random(7)
    found = []
    for copy in range(max(1, size // 100)):
        seconds = {h: min(draw.lognormvariate(4.5, 1.2), 4 * 3600) for h in sorted(wanted)}
        for h in wanted:
            node = lock.nodes[h]
            needs = tuple(sorted({f"{edge.hash}{copy}" for edge in node.dependencies if edge.hash in wanted}))
            found.append(Work(hash=f"{h}{copy}", label=node.label, seconds=seconds[h], needs=needs))
    return found


def row(size: int, runners: int) -> str:
    """A row of the table."""
    graph, costs = works(size), Costs()
    by_hash = {work.hash: work for work in graph}
    made = make_schedule(graph, limits=replace(Limits(), workers=runners), costs=costs)
    cells = (
        len(graph), runners, len(made.workers), sum(len(slots) for slots in made.workers), len(made.left_over), minutes(made.seconds),
        minutes(bound(by_hash, runners, costs)), minutes(level_waves(by_hash, runners, costs)), minutes(job_per_root(by_hash, runners, costs)),
    )  # fmt: skip
    return "| " + " | ".join(f"{cell:,}" for cell in cells) + " |\n"


def minutes(seconds: float) -> int:
    return round(seconds / 60)


def table(sizes: tuple[int, ...] = SIZES) -> str:
    head = "| specs | runners | used | slots | left over | minutes | least | waves by level | a job a request |\n"
    return head + "| --: " * 9 + "|\n" + "".join(row(size, runners) for size in sizes for runners in RUNNERS)


def main(arguments: list[str]) -> None:
    begun = time.monotonic()
    made = table()
    sys.stdout.write(made)
    sys.stderr.write(f"in {time.monotonic() - begun:.0f} s\n")
    if "--docs" in arguments:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(text[: text.index(_BEGIN)] + _BEGIN + "\n" + made + "\n" + text[text.index(_END) :], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

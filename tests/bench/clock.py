"""What a benchmark measures with: wall time, requests, memory; medians of runs that alternate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: what was compared, both figures, what is promised, and whether that held."""

    name: str
    ours: float
    theirs: float | None
    unit: str
    ratio: float | None = None
    promise: str = ""
    holds: bool | None = None
    note: str = ""


@dataclass(slots=True)
class Table:
    """All lines of a run, told as they come."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Add a line, and tell it."""
        self.rows.append(row)
        mark = {True: "holds", False: "DOES NOT HOLD", None: ""}[row.holds]
        theirs = f" against {row.theirs:.4g} {row.unit}" if row.theirs is not None else ""
        ratio = f", ratio {row.ratio:.3g}" if row.ratio is not None else ""
        sys.stdout.write(f"{row.name}: {row.ours:.4g} {row.unit}{theirs}{ratio}  {row.promise} {mark} {row.note}\n")
        sys.stdout.flush()

    def write(self, path: Path, about: Mapping[str, object]) -> None:
        """Keep the lines as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"meta": about, "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n", encoding="utf-8")


def seconds(action: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(actions: Sequence[Callable[[int], float]], rounds: int) -> list[float]:
    """Run actions in turn, so many rounds, each with the number of its round; the median of what each of them tells.

    Every other round goes the other way round: what one action leaves to be written to disk slows down the next.
    """
    told: list[list[float]] = [[] for _ in actions]
    for number in range(rounds):
        for at, action in list(enumerate(actions))[:: -1 if number % 2 else 1]:
            os.sync()
            told[at].append(action(number))
    return [median(found) for found in told]


def invoke(*arguments: str, env: Mapping[str, str] | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a task as it is typed."""
    command = [sys.executable, "-m", "invoke", "--search-root", str(PROJECT), *arguments]
    done = subprocess.run(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout[-2000:]}")
    return done


_PEAK = """
import sys
from pathlib import Path
sys.argv[0] = "invoke"
sys.path.insert(0, {project!r})
from invoke.main import program
try:
    program.run()
finally:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path({out!r}).write_text(line.split()[1])
"""


def peak(*arguments: str, folder: Path) -> float:
    """The peak of memory of a task in MiB: VmHWM, the program's own (getrusage would count what started it too)."""
    out = folder / "peak"
    command = [sys.executable, "-c", _PEAK.format(project=str(PROJECT), out=str(out)), "--search-root", str(PROJECT), *arguments]
    done = subprocess.run(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout[-2000:]}")
    return int(out.read_text()) / 1024

"""What a task prints at its end: outcomes in words, the worst of them as the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cachelib.model.errors import CacheError
from cachelib.model.text import printable

#: Of what went well, this many lines are printed.
SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The lines a task ends with, the same as data for programs, and the code its process exits with."""

    lines: tuple[str, ...]
    exit_code: int = 0
    data: tuple[Mapping[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The lines as they are printed: what came from outside can't move a cursor or give a CI command."""
        return "\n".join(printable(line) for line in self.lines)


def join(reports: Iterable[Report]) -> Report:
    """Several reports as one; the exit code is the first that isn't 0."""
    reports = tuple(reports)
    return Report(
        lines=tuple(line for report in reports for line in report.lines),
        exit_code=next((report.exit_code for report in reports if report.exit_code), 0),
        data=tuple(data for report in reports for data in report.data),
    )


def attempt(step: Callable[[], Report]) -> Report:
    """A step's report; where it failed, one that says so, so that the reports of other steps are not lost."""
    try:
        return step()
    except CacheError as error:
        return error_report(error)


def error_report(error: CacheError) -> Report:
    """An error as the report of a step."""
    data = {"step": "error", "message": error.message, "hint": error.hint, "exitCode": error.exit_code}
    return Report(lines=tuple(error_text(error).splitlines()), exit_code=error.exit_code, data=(data,))


def error_text(error: CacheError) -> str:
    """An error as a person reads it: what, and what to do. What it quotes can't give a CI command."""
    text = f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else "")
    return "\n".join(map(printable, text.split("\n")))


def some(lines: list[str]) -> list[str]:
    """The first lines of many, and how many more there are: nobody reads ten thousand."""
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"  ... and {len(lines) - SHOWN} more"]


def first(found: Sequence[Report], most: int) -> list[Report]:
    """The first reports of many with their lines, the others with their data alone, and how many those are."""
    if len(found) <= most:
        return list(found)
    told = f"  ... and {len(found) - most} more, which --json FILE tells of"
    return [*found[:most], *(replace(one, lines=()) for one in found[most:-1]), replace(found[-1], lines=(told,))]


def item_data(label: str, outcome: Any, **more: Any) -> dict[str, Any]:
    """An outcome as data: its kind, and what it carries."""
    return {"label": label, **more, "outcome": type(outcome).__name__.lower(), **asdict(outcome)}


def step_data(step: str, where: str, items: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """What became of one step's items, counted."""
    items = list(items)
    return {"step": step, "where": where, **more, "counts": Counter(item["outcome"] for item in items), "items": items}

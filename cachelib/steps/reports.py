"""What a task prints at its end: outcomes in words, the worst of them as the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cachelib.model.errors import BuildError, CacheError
from cachelib.model.outcome import Built, Failed, Reused, Skipped
from cachelib.model.text import printable
from cachelib.steps.building import BuildResult

#: Of what went well, this many lines are printed.
SHOWN = 40
#: Of a failed build's errors, this many lines are printed; the whole log is kept.
ERROR_LINES = 8


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
    """An error as a person reads it: what, and what to do."""
    return f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else "")


def build_report(result: BuildResult) -> Report:
    """What was built, what failed and why, what was not tried."""
    lines: list[str] = []
    well: list[str] = []
    for h, outcome in result.outcomes.items():
        label = result.nodes[h].label
        match outcome:
            case Built():
                well.append(f"  built    {label} in {outcome.seconds:.1f} s")
            case Reused():
                well.append(f"  reused   {label} ({outcome.source})")
            case Failed():
                lines.append(f"  FAILED   {label} in phase {outcome.phase}: {outcome.message}")
                lines += [f"             | {line}" for line in outcome.error_lines[:ERROR_LINES]]
                lines += [f"             whole log: {outcome.log}"] if outcome.log else []
            case Skipped():
                because = f": {outcome.because_of}" if outcome.because_of else ""
                lines.append(f"  skipped  {label}, {outcome.reason}{because}")
    for rejection in result.rejected:
        lines.append(f"  REJECTED {rejection.request!r}:")
        lines += [f"             | {line}" for line in rejection.reason.splitlines()]
        lines.append(f"             hint: {rejection.hint}")
    counts = Counter(type(outcome).__name__.lower() for outcome in result.outcomes.values())
    counts["rejected"] = len(result.rejected)
    total = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing to build"
    lines.append(f"build: {total}; {result.written} new in the mirror {result.mirror}")
    lines += result.trouble.splitlines()
    items = [item_data(result.nodes[h].label, outcome, hash=h) for h, outcome in result.outcomes.items()]
    items += [{"label": r.request, "outcome": "rejected", "reason": r.reason} for r in result.rejected]
    return Report(
        lines=(*some(well), *lines),
        exit_code=BuildError.exit_code if result.not_built() or result.trouble else 0,
        data=(step_data("build", result.mirror, items, written=result.written),),
    )


def some(lines: list[str]) -> list[str]:
    """The first lines of many, and how many more there are: nobody reads ten thousand."""
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"  ... and {len(lines) - SHOWN} more"]


def item_data(label: str, outcome: Any, **more: Any) -> dict[str, Any]:
    """An outcome as data: its kind, and what it carries."""
    return {"label": label, **more, "outcome": type(outcome).__name__.lower(), **asdict(outcome)}


def step_data(step: str, where: str, items: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """What became of one step's items, counted."""
    items = list(items)
    return {"step": step, "where": where, **more, "counts": Counter(item["outcome"] for item in items), "items": items}

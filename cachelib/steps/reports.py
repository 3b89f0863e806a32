"""What a task prints at its end: outcomes in words, the worst of them as the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cachelib.model.errors import BuildError, CacheError, RegistryError, VerifyError
from cachelib.model.outcome import (
    Built,
    Failed,
    NotPushed,
    Present,
    Pushed,
    PushOutcome,
    Reused,
    Skipped,
)
from cachelib.model.text import printable
from cachelib.steps.building import BuildResult
from cachelib.steps.indexing import Indexed
from cachelib.steps.pushing import PushPlan
from cachelib.steps.verifying import Verified

#: Of what went well, this many lines are printed.
SHOWN = 40
#: Of a failed build's errors, this many lines are printed; the whole log is kept.
ERROR_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The lines a task ends with, and the code its process exits with."""

    lines: tuple[str, ...]
    exit_code: int = 0

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
    )


def attempt(step: Callable[[], Report]) -> Report:
    """A step's report; where it failed, one that says so, so that the reports of other steps are not lost."""
    try:
        return step()
    except CacheError as error:
        return Report(lines=tuple(error_text(error).splitlines()), exit_code=error.exit_code)


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
    return Report(lines=(*_some(well), *lines), exit_code=BuildError.exit_code if result.not_built() or result.trouble else 0)


def plan_report(plan: PushPlan, where: str) -> Report:
    """What a push would do."""
    lines = [f"  {'send' if item.send else 'keep'}     {item.entry.label}: {item.reason}" for item in plan.items]
    return Report(lines=(*lines, f"push would send {len(plan.to_send())} of {len(plan.items)} entries to {where}; nothing was sent"))


def push_report(outcomes: Mapping[str, PushOutcome], labels: Mapping[str, str], where: str) -> Report:
    """What was sent, what was there, what failed."""
    pushed = [f"  pushed   {labels[h]} as {outcome.digest}" for h, outcome in outcomes.items() if isinstance(outcome, Pushed)]
    failed = [f"  FAILED   {labels[h]}: {outcome.reason}" for h, outcome in outcomes.items() if isinstance(outcome, NotPushed)]
    lines = [*_some(pushed), *failed]
    sent = sum(outcome.sent for outcome in outcomes.values() if isinstance(outcome, Pushed))
    counts = Counter(type(outcome) for outcome in outcomes.values())
    lines.append(f"push: {counts[Pushed]} pushed ({sent} bytes), {counts[Present]} present, {counts[NotPushed]} failed, to {where}")
    return Report(lines=tuple(lines), exit_code=RegistryError.exit_code if counts[NotPushed] else 0)


def _some(lines: list[str]) -> list[str]:
    """The first lines of many, and how many more there are: nobody reads ten thousand."""
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"  ... and {len(lines) - SHOWN} more"]


def index_report(indexed: Indexed, where: str) -> Report:
    """What came, what went, what was passed over. Broken tags are news, not failures: the rest is indexed."""
    lines = [f"  WARNING  passed over {warning.tag}: {warning.reason}" for warning in indexed.warnings]
    changed = "written" if indexed.written else "unchanged"
    lines.append(
        f"index: {len(indexed.catalog.entries)} entries ({len(indexed.added)} new, {len(indexed.removed)} gone), "
        f"{len(indexed.warnings)} warnings, catalog and Spack index {changed}, of {where}"
    )
    return Report(lines=tuple(lines))


def verify_report(verified: Verified, where: str) -> Report:
    """What was checked and what is wrong."""
    lines = []
    for finding in verified.findings:
        lines += [f"  WRONG    {finding.where}: {finding.problem}", f"             remedy: {finding.remedy}"]
    lines.append(
        f"verify: {verified.images} images, {verified.blobs} layers, {verified.bytes} bytes read, "
        f"{len(verified.findings)} findings, in {where}"
    )
    return Report(lines=tuple(lines), exit_code=VerifyError.exit_code if verified.findings else 0)

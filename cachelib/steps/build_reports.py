"""What was built, what failed and why, as a person reads it and as data."""

from __future__ import annotations

from collections import Counter

from cachelib.model.errors import BuildError
from cachelib.model.outcome import Built, Failed, Reused, Skipped
from cachelib.steps.building import BuildResult
from cachelib.steps.reports import Report, item_data, some, step_data

#: Of a failed build's errors, this many lines are printed; the whole log is kept.
ERROR_LINES = 8


def build_report(result: BuildResult) -> Report:
    """What was built, what failed and why, what was not tried."""
    lines: list[str] = []
    well: list[str] = []
    several = len({result.nodes[h].target for h in result.outcomes}) > 1
    for h, outcome in result.outcomes.items():
        label = result.nodes[h].label + (f" for {result.nodes[h].target}" if several else "")
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
    lines += [f"  withheld {result.nodes[h].label}: {reason}" for h, reason in result.withheld.items() if h in result.outcomes]
    lines += [f"  left     {one.what}: {one.reason}" for one in result.elsewhere]
    counts = Counter(type(outcome).__name__.lower() for outcome in result.outcomes.values())
    counts["rejected"] = len(result.rejected)
    total = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing to build"
    lines.append(f"build: {total}; {result.written} new in the mirror {result.mirror}")
    lines += result.trouble.splitlines()
    items = [item_data(result.nodes[h].label, outcome, hash=h) for h, outcome in result.outcomes.items()]
    items += [{"label": r.request, "outcome": "rejected", "reason": r.reason} for r in result.rejected]
    items += [
        {"label": result.nodes[h].label, "outcome": "withheld", "reason": reason, "hash": h}
        for h, reason in result.withheld.items()
        if h in result.outcomes
    ]
    items += [{"label": one.what, "outcome": "elsewhere", "reason": one.reason} for one in result.elsewhere]
    return Report(
        lines=(*some(well), *lines),
        exit_code=BuildError.exit_code if result.not_built() or result.trouble else 0,
        data=(step_data("build", result.mirror, items, written=result.written),),
    )

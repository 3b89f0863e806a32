"""What a diagnosis prints at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cachelib.model.check import Check, Verdict
from cachelib.steps.reports import Report, step_data

_WIDTH = max(map(len, Verdict))
_MANY = {Verdict.OK: "ok", Verdict.WARNING: "warnings", Verdict.PROBLEM: "problems", Verdict.UNCHECKED: "not checked"}


def doctor_report(checks: Sequence[Check], where: str) -> Report:
    """A line a check, what to do below it; the exit code is that of the first problem."""
    counts = Counter(check.verdict for check in checks)
    told = ", ".join(f"{counts[verdict]} {verdict if counts[verdict] == 1 else many}" for verdict, many in _MANY.items())
    items = [
        {"label": check.name, "outcome": str(check.verdict), "words": check.words, "remedy": check.remedy, "link": check.link}
        for check in checks
    ]
    return Report(
        lines=(*(line for check in checks for line in _lines(check)), f"doctor: {len(checks)} checks of {where}: {told}"),
        exit_code=next((check.exit_code for check in checks if check.exit_code), 0),
        data=(step_data("doctor", where, items),),
    )


def _lines(check: Check) -> Iterator[str]:
    first, *more = check.words.splitlines() or [""]
    margin = " " * (_WIDTH + 4)
    yield f"  {check.verdict:<{_WIDTH}}  {check.name}: {first}"
    yield from (f"{margin}{line}" for line in more)
    if check.remedy:
        yield f"{margin}{'next' if check.verdict is Verdict.OK else 'remedy'}: {check.remedy}"
    if check.link:
        yield f"{margin}see: {check.link}"

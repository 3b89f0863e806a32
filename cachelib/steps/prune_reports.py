"""What a pruning would do, and what it did, as a person reads it and as data."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cachelib.model.errors import PruneError
from cachelib.model.outcome import NotPruned, Pruned, Spared
from cachelib.steps.pruning import PruneResult
from cachelib.steps.reports import Report, item_data, some, step_data
from cachelib.steps.retaining import PrunePlan


def prune_plan_report(plan: PrunePlan, where: str) -> Report:
    """What a pruning would do, with the reason and the bytes of each entry."""
    items = [
        {"label": i.label, "hash": i.entry.hash, "outcome": "keep" if i.keep else "delete", "reason": i.reason, "size": i.size}
        for i in plan.items
    ]
    lines = [f"  {item['outcome']:<8} {item['label']} ({item['size']} bytes): {item['reason']}" for item in items]
    doomed = plan.doomed()
    last = (
        f"prune would delete {len(doomed)} of {len(plan.items)} entries ({sum(item.size for item in doomed)} bytes, "
        f"{plan.share():.0%} of the cache) from {where}; nothing was deleted"
    )
    return Report(lines=(*lines, last), data=(step_data("prune plan", where, items),))


def prune_report(plan: PrunePlan, result: PruneResult, where: str) -> Report:
    """What was deleted, what was spared and why, what could not be deleted."""
    outcomes, swept = result.outcomes, result.swept
    labels = {item.entry.hash: item.label for item in plan.items}
    pruned = [f"  deleted  {labels[h]} ({outcome.size} bytes)" for h, outcome in outcomes.items() if isinstance(outcome, Pruned)]
    spared = [f"  spared   {labels[h]}: {outcome.reason}" for h, outcome in outcomes.items() if isinstance(outcome, Spared)]
    failed = [f"  FAILED   {labels[h]}: {outcome.reason}" for h, outcome in outcomes.items() if isinstance(outcome, NotPruned)]
    counts = Counter(type(outcome) for outcome in outcomes.values())
    size = sum(outcome.size for outcome in outcomes.values() if isinstance(outcome, Pruned))
    note = f" ({swept.note})" if swept.note else ""
    last = (
        f"prune: {counts[Pruned]} deleted ({size} bytes), {len(plan.items) - counts[Pruned]} kept, {counts[NotPruned]} failed, in {where}; "
        f"{swept.count} unnamed things swept ({swept.size} bytes){note}"
    )
    items: list[dict[str, Any]] = [item_data(labels[h], outcome, hash=h) for h, outcome in outcomes.items()]
    data = step_data(
        "prune",
        where,
        [*items, *({"label": w.tag, "outcome": "warned", "reason": w.reason} for w in result.warnings)],
        size=size,
        swept={"count": swept.count, "size": swept.size, "note": swept.note},
    )
    lacking = [f"  WARNING  {warning.tag}: {warning.reason}" for warning in result.warnings]
    code = PruneError.exit_code if counts[NotPruned] or lacking else 0
    return Report(lines=(*some(pruned), *spared, *failed, *lacking, last), exit_code=code, data=(data,))

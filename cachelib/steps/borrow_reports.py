"""What a pull prints, and tells programs, of what it takes of upstreams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cachelib.model.errors import MirrorError
from cachelib.model.outcome import Here, NotPulled, Pulled, PullOutcome
from cachelib.steps.borrowing import UpstreamItem
from cachelib.steps.reports import Report, item_data, some, step_data

_WHERE = "upstreams"


def plan_reports(items: Sequence[UpstreamItem]) -> Iterator[Report]:
    """What a pull would take of upstreams; nothing where nothing of them is needed."""
    if not items:
        return
    told = [
        {
            "label": item.node.label, "hash": item.node.hash, "outcome": "keep" if item.here else "fetch", "upstream": item.urls[0],
            "reason": "in the mirror already" if item.here else item.reason, "size": item.size,
        }
        for item in items
    ]  # fmt: skip
    lines = [f"  {one['outcome']:<8} {one['label']} ({_size(one['size'])}) of {one['upstream']}: {one['reason']}" for one in told]
    fetching = [item for item in items if not item.here]
    known = sum(item.size or 0 for item in fetching)
    more = ", and of those whose size isn't told" if any(item.size is None for item in fetching) else ""
    last = f"pull would fetch {len(fetching)} of {len(items)} entries ({known} bytes{more}) from upstreams; nothing was fetched"
    yield Report(lines=(*lines, last), data=(step_data("pull upstream plan", _WHERE, told),))


def borrow_reports(items: Sequence[UpstreamItem], outcomes: Mapping[str, tuple[str, PullOutcome]]) -> Iterator[Report]:
    """What came of upstreams, what was there, what failed; nothing where nothing of them is needed."""
    if not items:
        return
    labels = {item.node.hash: item.node.label for item in items}
    reasons = {item.node.hash: item.reason for item in items}
    pulled = [
        f"  pulled   {labels[h]} of {url}" + ("" if outcome.original else " (pushed by Spack itself: its entry was made anew, unsigned)")
        for h, (url, outcome) in outcomes.items()
        if isinstance(outcome, Pulled)
    ]
    failed = [f"  FAILED   {reasons[h]}: {one.reason}" for h, (_, one) in outcomes.items() if isinstance(one, NotPulled)]
    counts = Counter(type(outcome) for _, outcome in outcomes.values())
    received = sum(outcome.received for _, outcome in outcomes.values() if isinstance(outcome, Pulled))
    last = f"pull: {counts[Pulled]} pulled ({received} bytes), {counts[Here]} here already, {counts[NotPulled]} failed, from upstreams"
    refused = [f"  {_REFUSED}"] if any("refused: " in line for line in failed) else []
    told = [item_data(labels[h], outcome, hash=h, upstream=url) for h, (url, outcome) in outcomes.items()]
    yield Report(
        lines=(*some(pulled), *failed, *refused, last),
        exit_code=MirrorError.exit_code if counts[NotPulled] else 0,
        data=(step_data("pull upstream", _WHERE, told, received=received),),
    )


_REFUSED = "what an upstream signed is checked by its public key, which has to lie in keys/upstreams/NAME.pub beside cache.yaml"


def _size(size: object) -> str:
    return "size not told" if size is None else f"{size} bytes"

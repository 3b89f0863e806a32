"""What the tasks that talk to a registry print at their end, and tell programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cachelib.model.errors import MirrorError, RegistryError, VerifyError
from cachelib.model.outcome import (
    Here,
    NotPulled,
    NotPushed,
    Present,
    Pulled,
    PullOutcome,
    Pushed,
    PushOutcome,
    Upstream,
    Warned,
)
from cachelib.steps.indexing import Indexed
from cachelib.steps.pulling import PullPlan, total
from cachelib.steps.pushing import PushPlan
from cachelib.steps.reports import Report, item_data, some, step_data
from cachelib.steps.verifying import Verified


def push_plan_report(plan: PushPlan, where: str) -> Report:
    """What a push would do."""
    items = [
        {"label": i.entry.label, "hash": i.entry.hash, "outcome": "send" if i.send else "keep", "reason": i.reason} for i in plan.items
    ]
    lines = [f"  {item['outcome']}     {item['label']}: {item['reason']}" for item in items]
    last = f"push would send {len(plan.to_send())} of {len(plan.items)} entries to {where}; nothing was sent"
    return Report(lines=(*lines, last), data=(step_data("push plan", where, items),))


def push_report(outcomes: Mapping[str, PushOutcome], labels: Mapping[str, str], where: str) -> Report:
    """What was sent, what was there, what failed."""
    pushed = [f"  pushed   {labels[h]} as {outcome.digest}" for h, outcome in outcomes.items() if isinstance(outcome, Pushed)]
    failed = [f"  FAILED   {labels[h]}: {outcome.reason}" for h, outcome in outcomes.items() if isinstance(outcome, NotPushed)]
    sent = sum(outcome.sent for outcome in outcomes.values() if isinstance(outcome, Pushed))
    counts = Counter(type(outcome) for outcome in outcomes.values())
    upstream = f", {counts[Upstream]} in upstreams" if counts[Upstream] else ""
    last = f"push: {counts[Pushed]} pushed ({sent} bytes), {counts[Present]} present{upstream}, {counts[NotPushed]} failed, to {where}"
    return Report(
        lines=(*some(pushed), *failed, last),
        exit_code=RegistryError.exit_code if counts[NotPushed] else 0,
        data=(step_data("push", where, (item_data(labels[h], outcome, hash=h) for h, outcome in outcomes.items()), sent=sent),),
    )


def index_report(indexed: Indexed, where: str) -> Report:
    """What came, what went, what was passed over. Broken tags are news, not failures: the rest is indexed."""
    changed = "written" if indexed.written else "unchanged"
    last = (
        f"index: {indexed.count} entries ({len(indexed.added)} new, {len(indexed.removed)} gone), "
        f"{len(indexed.warnings)} warnings, catalog and Spack index {changed}, of {where}"
    )
    items = [{"label": tag, "outcome": "added"} for tag in indexed.added]
    items += [{"label": tag, "outcome": "removed"} for tag in indexed.removed]
    items += _warned(indexed.warnings)
    data = step_data("index", where, items, entries=indexed.count, written=indexed.written)
    return Report(lines=(*_warnings(indexed.warnings), last), data=(data,))


def pull_plan_report(plan: PullPlan, where: str) -> Report:
    """What a pull would do."""
    items = [
        {"label": i.label, "hash": i.entry.hash, "outcome": "fetch" if i.fetch else "keep", "reason": i.reason, "size": i.size}
        for i in plan.items
    ]
    lines = [f"  {item['outcome']:<8} {item['label']} ({item['size']} bytes): {item['reason']}" for item in items]
    missing = [f"  WARNING  {line}" for line in plan.missing]
    fetching = plan.to_fetch()
    last = f"pull would fetch {len(fetching)} of {len(plan.items)} entries ({total(fetching)} bytes) from {where}; nothing was fetched"
    return Report(lines=(*lines, *missing, last), data=(step_data("pull plan", where, items, missing=list(plan.missing)),))


def pull_report(plan: PullPlan, outcomes: Mapping[str, PullOutcome], warnings: Sequence[Warned], where: str, url: str) -> Report:
    """What came, what was there, what failed."""
    labels = {item.entry.hash: item.label for item in plan.items}
    pulled = [
        f"  pulled   {labels[h]}" + ("" if outcome.original else " (pushed by Spack itself: its entry was made anew)")
        for h, outcome in outcomes.items()
        if isinstance(outcome, Pulled)
    ]
    failed = [f"  FAILED   {labels[h]}: {outcome.reason}" for h, outcome in outcomes.items() if isinstance(outcome, NotPulled)]
    missing = [f"  WARNING  {line}" for line in plan.missing]
    received = sum(outcome.received for outcome in outcomes.values() if isinstance(outcome, Pulled))
    counts = Counter(type(outcome) for outcome in outcomes.values())
    last = (
        f"pull: {counts[Pulled]} pulled ({received} bytes), {counts[Here]} here already, {counts[NotPulled]} failed, from {where}; "
        f"Spack reads them with `spack mirror add NAME {url}`"
    )
    items = [item_data(labels[h], outcome, hash=h) for h, outcome in outcomes.items()]
    return Report(
        lines=(*some(pulled), *_warnings(warnings), *missing, *failed, last),
        exit_code=MirrorError.exit_code if counts[NotPulled] else 0,
        data=(step_data("pull", where, [*items, *_warned(warnings)], mirror=url, received=received, missing=list(plan.missing)),),
    )


def verify_report(verified: Verified, where: str) -> Report:
    """What was checked and what is wrong."""
    lines = []
    for finding in verified.findings:
        lines += [f"  WRONG    {finding.where}: {finding.problem}", f"             remedy: {finding.remedy}"]
    lines += [f"  MENDED   {line}" for line in verified.mended]
    before = f", {verified.before} verified before" if verified.before else ""
    last = (
        f"verify: {verified.images} images, {verified.blobs} layers, {verified.bytes} bytes read{before}, "
        f"{len(verified.findings)} findings, in {where}"
    )
    items = [{"label": f.where, "outcome": "wrong", "problem": f.problem, "remedy": f.remedy} for f in verified.findings]
    items += [{"label": line, "outcome": "mended"} for line in verified.mended]
    data = step_data("verify", where, items, images=verified.images, blobs=verified.blobs, bytes=verified.bytes, before=verified.before)
    return Report(lines=(*lines, last), exit_code=VerifyError.exit_code if verified.findings else 0, data=(data,))


def _warnings(warnings: Sequence[Warned]) -> list[str]:
    return [f"  WARNING  passed over {warning.tag}: {warning.reason}" for warning in warnings]


def _warned(warnings: Sequence[Warned]) -> list[dict[str, Any]]:
    return [{"label": warning.tag, "outcome": "warned", "reason": warning.reason} for warning in warnings]

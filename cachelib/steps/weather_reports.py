"""Reports of the weather: how stacks stand, and what is missing."""

from __future__ import annotations

from dataclasses import asdict

from cachelib.model.quantity import human_bytes, human_seconds
from cachelib.steps.reports import Report, some, step_data
from cachelib.steps.weather import Forecast, State, Weather


def weather_report(found: Weather, repository: str) -> Report:
    """How one stack stands, the worst first, and the sums."""
    requests = len(found.requests)
    states = ", ".join(f"{count} {state.value}" for state in State if (count := found.of(state)))
    lines = [f"{_title(found)}: of {requests} requests {states}" if requests else f"{_title(found)}: it wants nothing"]
    lines += some([line for one in found.requests for line in _lines(one)])
    saved = f", which saves {human_seconds(found.seconds)} of building" if found.seconds else ""
    where = f"{repository} and its upstreams ({found.upstream} there)" if found.upstream else repository
    lines.append(f"weather: {found.present} of {found.total} specs are in {where}: {human_bytes(found.size)} to fetch{saved}")
    if len(found.targets) > 1:
        lines += [f"  {one.target}: {one.present} of {one.total}" for one in found.targets]
    missing = [lack for lack in found.lacks if all(one.spec is None or one.spec.hash != lack.hash for one in found.requests)]
    if missing:
        lines += ["  missing besides:", *some([f"    {lack.label}: {lack.reason}" for lack in missing])]
    sums = {"stack": found.stack, "runner": found.runner, "present": found.present, "total": found.total, "size": found.size,
            "seconds": found.seconds, "upstream": found.upstream, "missing": [asdict(lack) for lack in found.lacks],
            "targets": [asdict(one) for one in found.targets]}  # fmt: skip
    return Report(lines=tuple(lines), data=(step_data("weather", repository, map(_item, found.requests), **sums),))


def _title(found: Weather) -> str:
    return " ".join(filter(None, ((found.stack and f"stack {found.stack}") or "what is asked for", found.runner and f"on {found.runner}")))


def _lines(one: Forecast) -> list[str]:
    what = one.request if one.spec is None else f"{one.request}  ({one.spec.label})"
    there = f"{one.present} of {one.total} there, {human_bytes(one.size)}" if one.total else ""
    return [f"  {one.state.value:<9} {what}: {', '.join(filter(None, (there, one.reason)))}"]


def _item(one: Forecast) -> dict[str, object]:
    spec = one.spec
    return {
        "label": spec.label if spec else one.request, "outcome": one.state.value, "request": one.request,
        "hash": spec.hash if spec else "", "reason": one.reason, "present": one.present, "total": one.total, "size": one.size,
        "seconds": one.seconds, "upstream": one.upstream, "missing": [asdict(lack) for lack in one.lacks],
    }  # fmt: skip

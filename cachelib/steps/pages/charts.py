"""Charts as values: bars with their places, which a template draws as SVG."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cachelib.model.site import Contents
from cachelib.steps.api.totals import sums

#: The drawing's width, and that of the names beside lying bars (of its own units); the height of a lying bar with its gap.
WIDTH, NAMES, ROW = 640, 190, 24
#: The height of standing bars, and the room below and above them.
HEIGHT, BELOW, ABOVE = 160, 24, 18
MONTHS, LARGEST = 24, 15
#: Rows of a table at most.
ROWS = 500
#: Seconds that part one column of build times from the next, and what the columns are called.
_STEPS = ((10, "< 10 s"), (60, "< 1 min"), (300, "< 5 min"), (900, "< 15 min"), (3600, "< 1 h"), (float("inf"), "longer"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What there is of a stack for a target, in an image. `size` is in bytes."""

    image: str
    stack: str
    target: str
    packages: int
    builds: int
    size: int
    updated: str


def coverage_rows(contents: Contents) -> tuple[Covered, ...]:
    """What there is by image, stack and target."""
    found = sums(contents, lambda build: [(build.image, build.source.stack, build.target)])
    return tuple(
        Covered(image=image, stack=stack, target=target, packages=len(one.packages), builds=one.builds, size=one.size, updated=one.updated)
        for (image, stack, target), one in list(found.items())[:ROWS]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar: its name, what it counts, and its place."""

    name: str
    count: int
    x: float
    y: float
    width: float
    height: float
    middle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart: what it is called, how it is drawn, and its bars."""

    id: str
    title: str
    about: str
    standing: bool
    height: int
    bars: tuple[Bar, ...]
    width: int = WIDTH


def charts(contents: Contents) -> tuple[Chart, ...]:
    """Builds over time, the largest packages, and how long builds took; a chart of nothing is left out."""
    builds = [build for package in contents.packages for build in package.builds]
    months = Counter(build.created[:7] for build in builds if build.created)
    sizes = Counter[str]()
    for build in builds:
        sizes[build.name] += build.size
    times = Counter(next(name for limit, name in _STEPS if build.seconds < limit) for build in builds if build.seconds is not None)
    found = (
        _standing("months", "Builds over time", "by month", [(month, months[month]) for month in _last(months)]),
        _lying("sizes", "Bytes by package", f"the {LARGEST} largest, all builds together", sizes.most_common(LARGEST)),
        _standing("seconds", "Build times", "of those that tell", [(name, times[name]) for _, name in _STEPS if times]),
    )
    return tuple(chart for chart in found if chart.bars)


def _last(months: Counter[str]) -> list[str]:
    """The last months, without a gap."""
    if not months:
        return []
    year, month = map(int, max(months).split("-"))
    first, found = min(months), list[str]()
    while len(found) < MONTHS and (name := f"{year:04}-{month:02}") >= first:
        found.append(name)
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return found[::-1]


def _standing(id: str, title: str, about: str, counts: list[tuple[str, int]]) -> Chart:  # noqa: A002
    most, each = max((count for _, count in counts), default=0), WIDTH / max(len(counts), 1)
    bars = []
    for at, (name, count) in enumerate(counts if most else []):
        high = round(HEIGHT * count / most, 1)
        width = round(min(each * 0.7, 60), 1)
        middle = round(each * (at + 0.5), 1)
        bars.append(
            Bar(name=name, count=count, x=round(middle - width / 2, 1), y=ABOVE + HEIGHT - high, width=width, height=high, middle=middle)
        )
    return Chart(id=id, title=title, about=about, standing=True, height=ABOVE + HEIGHT + BELOW, bars=tuple(bars))


def _lying(id: str, title: str, about: str, counts: list[tuple[str, int]]) -> Chart:  # noqa: A002
    most = max((count for _, count in counts), default=0)
    bars = tuple(
        Bar(name=name, count=count, x=NAMES, y=at * ROW + 4, width=round(max((WIDTH - NAMES - 80) * count / most, 1), 1), height=ROW - 8,
            middle=at * ROW + ROW / 2)
        for at, (name, count) in enumerate(counts if most else [])
    )  # fmt: skip
    return Chart(id=id, title=title, about=about, standing=False, height=len(bars) * ROW, bars=bars)

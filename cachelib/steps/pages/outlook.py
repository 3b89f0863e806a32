"""The weather as a page shows it: each stack with a bar of its requests, and a row for each of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cachelib.model.site import Contents, page_path
from cachelib.steps.standing import standing
from cachelib.steps.weather import Forecast, State, Weather

#: The width of a bar (of its own units), and its least piece; requests that a stack shows, and missing specs of a request.
WIDTH, LEAST = 640.0, 6.0
REQUESTS, LACKS = 500, 8

#: The states from good to bad, as a bar shows them.
_STATES = (State.READY, State.EXTERNAL, State.RESTRICTED, State.PARTLY, State.MISSING, State.FAILING, State.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a bar: requests that stand alike."""

    state: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A request. `package` is the path of its page where it has one, `built` says whether the spec itself has a page of its own.

    `lacks` are what else is missing; where there is nothing else, `reason` says why the request is not ready.
    """

    one: Forecast
    package: str
    built: bool
    reason: str
    lacks: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A stack on a kind of runner."""

    id: str
    image: str
    weather: Weather
    pieces: tuple[Piece, ...]
    rows: tuple[Row, ...]
    more: int


def outlooks(contents: Contents) -> tuple[Outlook, ...]:
    """Every stack that told what it wants."""
    known = {package.name for package in contents.packages}
    found = []
    for at, (image, weather) in enumerate(standing(contents.images), 1):
        rows = tuple(_row(one, known, image.catalog.entries.keys()) for one in weather.requests[:REQUESTS])
        found.append(
            Outlook(
                id=f"stack-{at}", image=image.name, weather=weather, pieces=_pieces(weather), rows=rows,
                more=len(weather.requests) - len(rows),
            )
        )  # fmt: skip
    return tuple(found)


def ready(found: tuple[Outlook, ...]) -> tuple[int, int]:
    """Of how many requests everything is there, and how many there are; what can't be in a cache is not counted."""
    good = sum(one.weather.of(State.READY) for one in found)
    return good, good + sum(one.weather.of(State.PARTLY, State.MISSING, State.FAILING, State.REFUSED) for one in found)


def _row(one: Forecast, known: set[str], held: Collection[str]) -> Row:
    spec = one.spec
    others = [lack for lack in one.lacks if spec is None or lack.hash != spec.hash]
    return Row(
        one=one, package=page_path(spec.name) if spec and spec.name in known else "",
        built=spec is not None and spec.hash in held,
        reason=one.reason if not others else "",
        lacks=tuple(f"{lack.label}: {lack.reason}" for lack in others[:LACKS]), more=max(0, len(others) - LACKS),
    )  # fmt: skip


def _pieces(weather: Weather) -> tuple[Piece, ...]:
    """The bar: every state that occurs can be seen, however few stand so."""
    counts = [(state, count) for state in _STATES if (count := weather.of(state))]
    if not counts:
        return ()
    spare, total = WIDTH - LEAST * len(counts), len(weather.requests)
    found, x = [], 0.0
    for state, count in counts:
        width = LEAST + spare * count / total
        found.append(Piece(state=state.value, count=count, x=round(x, 1), width=round(width, 1)))
        x += width
    return tuple(found)

"""The weather: how requests stand, by every reason that there is; and that what is told of them adds up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.errors import FormatError
from cachelib.model.failure import Failure
from cachelib.model.licenses import BY_RECIPE
from cachelib.model.quantity import human_seconds
from cachelib.model.wanted import Wanted, WantedSpec, parse_wanted
from cachelib.steps.building import parse_lock
from cachelib.steps.weather import UNKNOWN, Coverage, Forecast, State, Stored, wanted_of, weather
from cachelib.steps.weather_reports import weather_report
from tests.support.caches import LOCK, made_catalog, made_wanted


def spec(letter: str, needs: str = "", takes: str = "", *, external: bool = False, restricted: bool = False) -> WantedSpec:
    return WantedSpec(
        hash=letter * 32, name=f"package-{letter}", version="1.0", target="x86_64_v3", needs=tuple(h * 32 for h in needs),
        takes=tuple(h * 32 for h in takes), external=external, restricted=BY_RECIPE if restricted else "",
    )  # fmt: skip


def wanted(*specs: WantedSpec, roots: str, **refused: str) -> Wanted:
    return Wanted(
        stack="all", runner="ubuntu-24.04", specs={one.hash: one for one in specs}, roots={h * 32: f"request-{h}" for h in roots},
        refused=refused,
    )  # fmt: skip


def failed(letter: str) -> dict[str, Failure]:
    one = Failure(hash=letter * 32, label="x@1", phase="build", message="no", since="2026-11-01T00:00:00Z", last="2026-11-02T00:00:00Z")
    return {one.hash: one}


def stand(asked: Wanted, held: str, failing: dict[str, Failure] | None = None) -> dict[str, Forecast]:
    found = weather(asked, {h * 32: Stored(size=10, seconds=2.0) for h in held}, failing or {})
    return {one.request: one for one in found.requests}


def test_what_is_there_whole_is_ready() -> None:
    asked = wanted(spec("a", "b", "c"), spec("b"), spec("c"), roots="a")
    one = stand(asked, "ab")["request-a"]
    # What only building it took is needed no more.
    assert (one.state, one.present, one.total, one.size, one.seconds, one.lacks) == (State.READY, 2, 2, 20, 4, ())


def test_a_dependency_that_is_missing_is_named() -> None:
    asked = wanted(spec("a", "b"), spec("b"), roots="a")
    one = stand(asked, "a")["request-a"]
    assert one.state is State.PARTLY
    assert [(lack.label, lack.reason) for lack in one.lacks] == [("package-b@1.0/bbbbbbb", UNKNOWN)]
    assert stand(asked, "")["request-a"].state is State.MISSING


def test_a_failure_is_the_reason_of_all_that_it_keeps_from_being_built() -> None:
    asked = wanted(spec("a", "b"), spec("b", takes="c"), spec("c"), spec("d"), roots="acd")
    found = stand(asked, "", failed("c"))
    assert found["request-c"].state is State.FAILING
    assert found["request-c"].reason == "failed since 2026-11-01 (once, last in phase build)"
    assert found["request-a"].state is State.FAILING
    assert "package-c@1.0/ccccccc" in found["request-a"].reason
    assert found["request-d"].state is State.MISSING


def test_a_failure_of_what_is_there_nevertheless_is_none() -> None:
    asked = wanted(spec("a", "b"), spec("b"), roots="a")
    assert stand(asked, "ab", failed("b"))["request-a"].state is State.READY
    # Neither is one of what only building took, where the build is there.
    assert stand(wanted(spec("a", takes="c"), spec("c"), roots="a"), "a", failed("c"))["request-a"].state is State.READY


def test_what_can_not_be_in_a_cache_is_not_counted() -> None:
    asked = wanted(
        spec("a", "be"), spec("b", restricted=True), spec("e", "x", external=True), spec("x"), roots="abe", bad="no such variant"
    )
    found = weather(asked, {"a" * 32: Stored(size=10)}, {})
    states = {one.request: one.state for one in found.requests}
    assert states == {"bad": State.REFUSED, "request-a": State.READY, "request-b": State.RESTRICTED, "request-e": State.EXTERNAL}
    assert (found.present, found.total, found.withheld, found.external) == (1, 1, 1, 1)
    assert found.requests[0].reason == "no such variant"
    # It is as ready as it can be; that Spack still has something to build is told.
    (ready,) = [one for one in found.requests if one.state is State.READY]
    assert ready.reason == "but for package-b@1.0/bbbbbbb, which may not be given away: Spack builds that"


def test_what_is_there_of_each_target() -> None:
    """Each spec counts once, whoever needs it; what is the machine's doesn't."""
    other = [replace(spec(letter, needs), target="x86_64_v4") for letter, needs in (("c", "de"), ("d", ""))]
    asked = wanted(spec("a", "be"), spec("b"), spec("f", "b"), *other, spec("e", external=True), roots="acf")
    found = weather(asked, {h * 32: Stored(size=10) for h in "abc"}, {})
    assert found.targets == (Coverage(target="x86_64_v3", present=2, total=3), Coverage(target="x86_64_v4", present=1, total=2))
    told = weather_report(found, "here").lines
    assert "  x86_64_v3: 2 of 3" in told
    assert "  x86_64_v4: 1 of 2" in told
    alone = weather_report(weather(wanted(spec("a"), roots="a"), {}, {}), "here").text
    assert "x86_64_v3: " not in alone, "of one target there is nothing to tell apart"


def test_the_real_lock_file() -> None:
    lock = parse_lock(json.loads(LOCK.read_text(encoding="utf-8")))
    asked = wanted_of("all", "ubuntu-24.04", lock)
    everything = {h: Stored(size=1) for h in lock.nodes}
    found = weather(asked, everything, {})
    assert found.of(State.READY) == len(lock.roots) > 10
    assert found.present == found.total > 60
    # It takes what is needed at run time alone: fewer than the lock has, as compilers and build tools are not.
    assert found.total < sum(not node.external for node in lock.nodes.values())
    assert parse_wanted(json.loads(json.dumps(asked.json()))) == asked


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19)), st.sampled_from(("", "external", "restricted"))), min_size=1, max_size=20),
    st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19), min_size=1),
)  # fmt: skip
def test_it_adds_up(drawn: list[tuple[set[int], set[int], str]], held: set[int], failing: set[int], roots: set[int]) -> None:
    """Over any graph, also one with circles, as a damaged memory may hold."""
    letters = "abcdefghijklmnopqrst"[: len(drawn)]

    def pick(numbers: set[int]) -> str:
        return "".join(letters[n] for n in sorted(numbers) if n < len(letters))

    specs = [
        spec(letters[at], pick(needs), pick(takes - needs), **({kind: True} if kind else {}))
        for at, (needs, takes, kind) in enumerate(drawn)
    ]
    asked = wanted(*specs, roots=pick(roots) or letters[0])
    failures = {h: one for letter in pick(failing) for h, one in failed(letter).items()}
    stored = {letter * 32: Stored(size=7, seconds=1.0) for letter in pick(held)}
    found = weather(asked, stored, failures)
    assert len(found.requests) == len(asked.roots)
    assert found.present + len(found.lacks) == found.total
    assert found.size == 7 * found.present
    for one in found.requests:
        assert one.present + len(one.lacks) == one.total <= found.total
        assert {lack.hash for lack in one.lacks} <= {lack.hash for lack in found.lacks}
        assert (one.state is State.READY) == (
            one.total > 0 and not one.lacks and one.spec is not None and not (one.spec.external or one.spec.restricted)
        )
        assert (one.state is State.FAILING) <= any(lack.reason != UNKNOWN for lack in one.lacks)
    assert parse_wanted(json.loads(json.dumps(asked.json()))) == asked


@pytest.mark.parametrize(
    "change",
    [
        {"specs": "none"}, {"specs": [{"hash": "no hash"}]}, {"roots": []}, {"roots": {"z" * 32: "unknown"}}, {"refused": None},
        {"specs": [None]}, {"specs": [{"hash": "a" * 32, "name": "a", "version": "1", "target": "t", "needs": ["q" * 32]}]},
        {"specs": [{"hash": "a" * 32, "name": "a", "version": "1", "target": "t", "needs": 7}]},
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(change: dict[str, object]) -> None:
    good = wanted(spec("a"), roots="a").json()
    parse_wanted(good)
    with pytest.raises(FormatError):
        parse_wanted({**good, **change})


def test_hostile_words_are_harmless() -> None:
    good = wanted(spec("a"), roots="a").json()
    good["roots"] = {"a" * 32: "::error::\x1b[31m" + "x" * 10_000}
    found = weather(parse_wanted(good), {}, {})
    assert found.requests[0].request.startswith("?:error::?[31m")
    assert len(found.requests[0].request) <= 300


def test_the_report_has_the_worst_first_and_the_sums_last() -> None:
    catalog = made_catalog(200)
    asked = made_wanted(catalog, "b" * 32)
    held = {h: Stored(size=entry.tarball.size, seconds=60.0) for h, entry in catalog.entries.items()}
    lines = weather_report(weather(asked, held, failed("b")), "ghcr.io/o/r").lines
    assert lines[0].startswith("stack everything on ubuntu-24.04: of 42 requests 35 ready, 1 in part, 1 missing, 2 failing, 1 refused")
    assert lines[1].strip().startswith("refused")
    assert any(line.startswith("weather: ") and "specs are in ghcr.io/o/r" in line and "of building" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (12_000, "3 h 20 min")]
)
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text

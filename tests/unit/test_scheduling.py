"""Schedules: every spec once, what it needs first, all limits held, and near the bound; also where things go wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachelib.model.errors import FormatError
from cachelib.model.schedule import Costs, Limits, Schedule, Slot, Work, parse_schedule
from cachelib.steps.building import parse_lock
from cachelib.steps.playing import Fate, play
from cachelib.steps.scheduling import make_schedule
from cachelib.steps.timing import bottom_levels, bound, job_per_root, level_waves, measure, topological

LOCK = Path(__file__).resolve().parents[1] / "data" / "spack.lock"
COSTS = Costs()


def hash_of(number: int) -> str:
    """A DAG hash for a number."""
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(digits[number >> shift & 31] for shift in range(60, -5, -5)).rjust(32, "a")


def graph(works: Mapping[str, Work] | list[Work]) -> dict[str, Work]:
    items = list(works.values()) if isinstance(works, Mapping) else works
    return {work.hash: work for work in items}


def schedule(works: Mapping[str, Work], limits: Limits | None = None, costs: Costs = COSTS) -> Schedule:
    return make_schedule(list(works.values()), limits=limits or Limits(), costs=costs)


def real(chance: random.Random) -> dict[str, Work]:
    """The specs of a real stack, of which each takes minutes, and some an hour."""
    nodes = parse_lock(json.loads(LOCK.read_text(encoding="utf-8"))).buildable()
    hashes = {node.hash for node in nodes}
    assert len(nodes) >= 100
    works = [
        Work(
            hash=node.hash, label=node.label, seconds=min(chance.lognormvariate(4.6, 1.2), 7200.0),
            needs=tuple(edge.hash for edge in node.dependencies if edge.hash in hashes),
        )
        for node in nodes
    ]  # fmt: skip
    return graph(works)


def off(works: Mapping[str, Work], chance: random.Random) -> dict[str, Work]:
    """The same, of which each takes up to twice as long as thought, or half."""
    return {h: replace(work, seconds=work.seconds * 2 ** chance.uniform(-1, 1)) for h, work in works.items()}


@st.composite
def graphs(draw: Callable[..., Any]) -> dict[str, Work]:
    count = draw(st.integers(1, 40))
    works = []
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=4)) if number else set()
        seconds = draw(st.sampled_from([0.0, 1.0, 20.0, 90.0, 600.0, 5000.0]))
        works.append(Work(hash=hash_of(number), label=f"p{number}", seconds=seconds, needs=tuple(map(hash_of, sorted(needs)))))
    return graph(draw(st.permutations(works)))


LIMITS = st.builds(Limits, workers=st.integers(1, 6), slots=st.integers(1, 8), seconds=st.sampled_from([600.0, 7200.0, 20000.0, 1e9]))


def assert_sound(made: Schedule, works: Mapping[str, Work], limits: Limits) -> None:
    """Every spec is built once or left over; what it needs was built before it, here or by a slot that it waits for."""
    built = [h for slots in made.workers for slot in slots for h in slot.builds]
    left = {item.hash for item in made.left_over}
    assert len(built) == len(set(built))
    assert set(built) | left == works.keys()
    assert not set(built) & left
    assert len(made.workers) <= limits.workers
    assert all(0 < len(slots) <= limits.slots and all(slot.builds for slot in slots) for slots in made.workers)
    assert made.seconds <= limits.seconds
    for slots in made.workers:
        here: set[str] = set()
        for slot in slots:
            for h in slot.builds:
                assert set(works[h].needs) <= here | set(slot.waits)
                here.add(h)
            assert not set(slot.waits) & here
    played = play(made, works, COSTS)
    assert set(played.fates.values()) <= {Fate.BUILT}
    assert played.seconds == pytest.approx(made.seconds)
    assert all(item.reason for item in made.left_over)


@given(graphs(), LIMITS)
@settings(deadline=None)
def test_every_spec_once_and_what_it_needs_first(works: dict[str, Work], limits: Limits) -> None:
    made = schedule(works, limits)
    assert_sound(made, works, limits)
    assert parse_schedule(json.loads(json.dumps(made.json()))).workers == made.workers
    # What is left over is left with all that needs it, and for want of time or of slots, never for nothing.
    left = {item.hash for item in made.left_over}
    assert all(left >= {h for h, work in works.items() if root in work.needs} for root in left)
    if limits.seconds == 1e9 and limits.slots * limits.workers >= 2 * len(works):
        assert not left or limits.workers > 1


@given(graphs())
@settings(deadline=None)
def test_one_worker_builds_everything_in_one_go(works: dict[str, Work]) -> None:
    made = schedule(works, Limits(workers=1, slots=1, seconds=1e9))
    assert made.left_over == ()
    assert made.seconds == pytest.approx(COSTS.job + COSTS.slot + sum(work.seconds for work in works.values()))


@given(graphs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_in_which_specs_come_is_all_the_same(works: dict[str, Work], chance: random.Random) -> None:
    items = list(works.items())
    chance.shuffle(items)
    assert schedule(dict(items)) == schedule(works)


@given(graphs(), LIMITS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_failures_and_deaths_stop_nobody(works: dict[str, Work], limits: Limits, chance: random.Random) -> None:
    """Whatever doesn't hang on what went wrong is built, and nobody waits for ever."""
    made = schedule(works, limits)
    built = sorted(made.place())
    failing = {h for h in built if chance.random() < 0.2}
    deaths = {at: chance.uniform(0, made.seconds) for at in range(len(made.workers)) if chance.random() < 0.3}
    played = play(made, off(works, chance), COSTS, failing=failing, deaths=deaths)
    assert played.fates.keys() == set(built)
    for h, fate in played.fates.items():
        needs = {played.fates[need] for need in works[h].needs}
        if fate is Fate.BUILT:
            assert needs <= {Fate.BUILT}
            assert h not in failing
        elif fate is Fate.FAILED:
            assert h in failing
        elif fate is Fate.SKIPPED:
            assert needs - {Fate.BUILT}
        else:
            assert made.place()[h][0] in deaths
    # A second run builds what is left, and nothing else.
    again = {h: work for h, work in works.items() if h not in played.fates or played.fates[h] is not Fate.BUILT}
    assert_sound(schedule(again, limits), {h: replace(w, needs=tuple(n for n in w.needs if n in again)) for h, w in again.items()}, limits)


@pytest.mark.parametrize("seed", range(6))
def test_a_real_stack_is_built_near_the_bound(seed: int) -> None:
    chance = random.Random(seed)
    works = real(chance)
    made = schedule(works)
    assert_sound(made, works, Limits())
    assert made.seconds <= 1.1 * bound(works, 20, COSTS)
    layout = tuple(tuple(slot.builds for slot in slots) for slots in made.workers)
    days = [off(works, chance) for _ in range(5)]
    assert all(measure(layout, day, COSTS).seconds <= 1.35 * bound(day, 20, COSTS) for day in days)
    # What others do takes longer, or costs more runners.
    assert made.seconds < 0.7 * level_waves(works, 20, COSTS)
    assert made.seconds < job_per_root(works, 20, COSTS)


def test_no_more_workers_than_are_worth_their_start() -> None:
    chain = [Work(hash=hash_of(n), label=f"p{n}", seconds=300, needs=(hash_of(n - 1),) if n else ()) for n in range(10)]
    assert len(schedule(graph(chain)).workers) == 1
    wide = [Work(hash=hash_of(n), label=f"p{n}", seconds=300) for n in range(8)]
    assert len(schedule(graph(wide)).workers) == 8
    assert len(schedule(graph(wide), Limits(workers=3)).workers) == 3
    small = [Work(hash=hash_of(n), label=f"p{n}", seconds=1) for n in range(8)]
    assert [len(slots) for slots in schedule(graph(small)).workers] == [1]


def test_what_does_not_fit_is_left_with_its_reason() -> None:
    works = graph([
        Work(hash=hash_of(0), label="long", seconds=7 * 3600), Work(hash=hash_of(1), label="user", seconds=5, needs=(hash_of(0),)),
        Work(hash=hash_of(2), label="short", seconds=5),
    ])  # fmt: skip
    made = schedule(works)
    assert {works[item.hash].label: item.reason for item in made.left_over} == {
        "long": "it takes 7.0 h, longer than a job may run", "user": "no time in this run",
    }  # fmt: skip
    assert [slot.builds for slots in made.workers for slot in slots] == [(hash_of(2),)]


def test_what_is_there_already_is_waited_for_by_nobody() -> None:
    made = schedule(graph([Work(hash=hash_of(1), label="user", seconds=5, needs=(hash_of(0),))]))
    assert made.workers == ((Slot(builds=(hash_of(1),)),),)


def test_nothing_to_do_takes_nobody() -> None:
    assert schedule({}) == Schedule()
    assert (bound({}, 5, COSTS), level_waves({}, 5, COSTS)) == (0.0, 0.0)


def test_levels_bounds_and_waves_by_hand() -> None:
    """a <- b <- d, a <- c: 10 + 20 + 40 on the longest way."""
    a, b, c, d = (hash_of(n) for n in range(4))
    works = graph([
        Work(hash=d, label="d", seconds=40, needs=(b,)), Work(hash=c, label="c", seconds=30, needs=(a,)),
        Work(hash=b, label="b", seconds=20, needs=(a,)), Work(hash=a, label="a", seconds=10),
    ])  # fmt: skip
    assert bottom_levels(works) == {a: 70, b: 60, c: 30, d: 40}
    assert topological(works)[0] == a
    costs = Costs(job=100, slot=1)
    assert (bound(works, 2, costs), bound(works, 1, costs)) == (170, 200)
    assert level_waves(works, 2, costs) == 3 * 101 + 10 + 30 + 40
    assert job_per_root(works, 2, costs) == 101 + 70
    layout = (((a, b), (d,)), ((c,),))
    assert measure(layout, works, costs).ends == {a: 131, b: 131, d: 172, c: 162}
    assert measure((((a,), (d,)), ((b, c),)), works, costs).seconds == 111 + 51 + 41
    assert measure((((b, a),), ((c,),)), works, costs).seconds == 131 + 31
    assert measure((((d,), (a,)), ((b,),)), works, costs).seconds == float("inf")


def test_a_circle_is_no_schedule() -> None:
    a, b = hash_of(0), hash_of(1)
    works = graph([Work(hash=a, label="a", seconds=1, needs=(b,)), Work(hash=b, label="b", seconds=1, needs=(a,))])
    with pytest.raises(ValueError, match="circle"):
        play(Schedule(workers=((Slot(builds=(a,), waits=(b,)),), (Slot(builds=(b,), waits=(a,)),))), works, COSTS)


@pytest.mark.parametrize(
    "data",
    [
        {}, {"seconds": 1, "workers": 5, "leftOver": []}, {"seconds": "x", "workers": [], "leftOver": []},
        {"seconds": 1, "workers": [[{"builds": ["../x"], "waits": []}]], "leftOver": []},
        {"seconds": 1, "workers": [[{"builds": [hash_of(1)]}]], "leftOver": []},
        {"seconds": 1, "workers": [[{"builds": [hash_of(1)], "waits": []}], [{"builds": [hash_of(1)], "waits": []}]], "leftOver": []},
    ],
)  # fmt: skip
def test_a_schedule_that_is_none_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_schedule(data)

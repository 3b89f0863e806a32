"""Packages picked by chance: the same ones again, only such as can be built, and none is moved by another."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.errors import UsageError
from cachelib.model.failure import Failure
from cachelib.model.inputs import RunInputs, check_inputs, parse_inputs
from cachelib.steps.picking import BATCH, Passed, Pick, cached_names, failing_names, pick
from cachelib.steps.plan_reports import pick_report
from tests.support.mirrors import make_catalog, make_node

NAMES = st.frozensets(st.text("abcdef-", min_size=1, max_size=5), max_size=60)
FAILURE = Failure(
    hash="a" * 32, label="curl@8.1/aaaaaaa", phase="build", message="no", since="2026-11-01T00:00:00Z", last="2026-11-20T00:00:00Z", times=3
)


class Recipes:
    """Spack as the step sees it: it says what is wrong with some packages, and counts what it was asked."""

    def __init__(self, unfit: Mapping[str, str] | None = None) -> None:
        self._unfit = unfit or {}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, names: Sequence[str]) -> dict[str, str]:
        self.asked.append(tuple(names))
        return {name: self._unfit.get(name, "") for name in names}


def picked(
    names: frozenset[str], count: int, seed: str, cached: frozenset[str] = frozenset(), failing: frozenset[str] = frozenset(),
    unfit: frozenset[str] = frozenset(),
) -> Pick:  # fmt: skip
    recipes = Recipes(dict.fromkeys(unfit, "unfit"))
    return pick(names, count, seed, cached=cached, failing=dict.fromkeys(failing, "failing"), facts=recipes)


@given(NAMES, NAMES, NAMES, NAMES, st.integers(0, 70), st.text(max_size=3))
def test_so_many_as_can_be_built_and_those_the_cache_lacks_first(
    names: frozenset[str], cached: frozenset[str], failing: frozenset[str], unfit: frozenset[str], count: int, seed: str
) -> None:
    found = picked(names, count, seed, cached, failing, unfit)
    good = names - failing - unfit
    assert len(found.names) == min(count, len(good)) == len(set(found.names))
    assert set(found.names) <= good
    # What is cached comes only when nothing else is left.
    known = [name in cached for name in found.names]
    assert known == sorted(known)
    assert not any(known) or good - cached <= set(found.names)
    assert {passed.name for passed in found.passed} <= names & (failing | unfit)
    assert all(passed.reason == ("failing" if passed.name in failing else "unfit") for passed in found.passed)


@given(NAMES, NAMES, NAMES, NAMES, st.integers(0, 70), st.text(max_size=3), st.randoms(use_true_random=False))
def test_the_same_again_in_whatever_order_names_come(
    names: frozenset[str],
    cached: frozenset[str],
    failing: frozenset[str],
    unfit: frozenset[str],
    count: int,
    seed: str,
    chance: random.Random,
) -> None:
    shuffled = list(names)
    chance.shuffle(shuffled)
    again = pick(
        shuffled, count, seed, cached=cached, failing=dict.fromkeys(failing, "failing"), facts=Recipes(dict.fromkeys(unfit, "unfit"))
    )
    assert again == picked(names, count, seed, cached, failing, unfit)


@given(NAMES, NAMES, NAMES, NAMES, st.integers(1, 70), st.text(max_size=3), st.text("abcdef-", min_size=1, max_size=5))
def test_one_package_more_changes_one_pick_at_most(
    names: frozenset[str], cached: frozenset[str], failing: frozenset[str], unfit: frozenset[str], count: int, seed: str, newcomer: str
) -> None:
    before = picked(names - {newcomer}, count, seed, cached, failing, unfit).names
    after = picked(names | {newcomer}, count, seed, cached, failing, unfit).names
    assert set(after) - set(before) <= {newcomer}
    assert len(set(before) - set(after)) <= 1
    rest = [name for name in after if name != newcomer]
    assert rest == list(before)[: len(rest)]


def test_another_seed_picks_others() -> None:
    names = frozenset(f"package-{at}" for at in range(1000))
    seen = {picked(names, 5, f"2026-11-{day:02}").names for day in range(1, 31)}
    assert len(seen) == 30


def test_every_package_has_its_turn() -> None:
    names = frozenset(f"package-{at}" for at in range(20))
    turns = [picked(names, 1, str(seed)).names[0] for seed in range(400)]
    assert set(turns) == names
    assert max(turns.count(name) for name in names) < 60


def test_recipes_are_read_of_few_and_never_of_what_failed() -> None:
    names, recipes = [f"p{at}" for at in range(9000)], Recipes()
    found = pick(names, 25, "seed", cached=frozenset(), failing={}, facts=recipes)
    assert [len(asked) for asked in recipes.asked] == [25]
    recipes = Recipes({found.names[0]: "no"})
    again = pick(names, 25, "seed", cached=frozenset(), failing={found.names[1]: "failed"}, facts=recipes)
    assert [len(asked) for asked in recipes.asked] == [24, BATCH]
    assert again.names[:23] == found.names[2:]
    assert again.passed == (Passed(name=found.names[0], reason="no"), Passed(name=found.names[1], reason="failed"))
    silent = Recipes()
    assert pick(["a"], 1, "s", cached=frozenset(), failing={"a": "failed"}, facts=silent) == Pick(
        passed=(Passed(name="a", reason="failed"),)
    )
    assert silent.asked == []


def test_what_failed_waits_for_its_next_try() -> None:
    """Three failures in a row: four days from the last one, by the name of the package and for its longest wait."""
    sooner = replace(FAILURE, label="curl@7.0/bbbbbbb", times=1)
    told = failing_names([sooner, FAILURE], datetime(2026, 11, 23, tzinfo=UTC))
    assert told == {"curl": "failed since 2026-11-01 (3 times, last in phase build); it is tried again on 2026-11-24"}
    assert failing_names([FAILURE, sooner], datetime(2026, 11, 24, tzinfo=UTC)) == {}


def test_what_the_catalog_holds_is_known_by_name() -> None:
    """A package that is only needed by an entry, and is none itself, is not in the cache."""
    zlib = make_node("zlib", "1.3")
    libc = make_node("glibc", "2.36")
    curl = make_node("curl", "8.1", dependencies=[zlib, libc])
    assert cached_names(make_catalog([curl, zlib, libc], [zlib], older=[make_node("gcc-runtime")])) == {"curl", "zlib", "gcc-runtime"}


def test_the_report_says_how_to_have_the_same_again() -> None:
    report = pick_report(Pick(names=("b", "a"), passed=(Passed(name="c", reason="it is virtual"),)), "s", "2026-11-23", 8000)
    assert report.text.splitlines() == [
        "  passed   c: it is virtual", "  picked   b", "  picked   a",
        "stack s: 2 of 8000 packages are picked at random; --seed 2026-11-23 picks the same ones of the same cache",
    ]  # fmt: skip
    assert report.data[0]["items"][-1] == {"label": "c", "outcome": "passed", "reason": "it is virtual"}
    assert report.exit_code == 0


@pytest.mark.parametrize(
    "asked",
    [RunInputs(random=2, specs=("zlib",)), RunInputs(seed="x"), RunInputs(random=-1), RunInputs(random=1001), RunInputs(workers=257)],
)
def test_what_can_not_be_meant_together_is_refused(asked: RunInputs) -> None:
    with pytest.raises(UsageError):
        check_inputs(asked)


def test_a_workflow_is_held_to_the_same() -> None:
    assert parse_inputs('{"random": "3", "seed": "x"}') == RunInputs(random=3, seed="x")
    with pytest.raises(UsageError, match="at random"):
        parse_inputs('{"random": "3", "specs": "zlib"}')
    assert [RunInputs(**given).one_stack for given in ({}, {"random": 1}, {"specs": ("a",)}, {"stack": "s"})] == [False, True, True, True]

"""Random packages: the same by the same seed, the uncached first, nothing that can't be built, and little moved by what is new."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as some

from cachelib.steps.picking import BATCH, Picked, pick

NAMES = [f"package-{at}" for at in range(300)]


def picked(count: int, seed: str = "s", names: list[str] | None = None, **more: object) -> Picked:
    how: dict[str, object] = {"cached": frozenset(), "failing": {}, "unfit": lambda batch: {}}
    return pick(NAMES if names is None else names, count, seed, **how | more)  # type: ignore[arg-type]


@given(some.text(), some.integers(0, 320), some.randoms())
def test_the_same_seed_picks_the_same(seed: str, count: int, random: object) -> None:
    mixed = list(NAMES)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    found = picked(count, seed)
    assert found == picked(count, seed, mixed)
    assert len(found.names) == len(set(found.names)) == min(count, len(NAMES))


def test_another_seed_picks_others() -> None:
    assert len({picked(5, str(at)).names for at in range(50)}) == 50


@given(some.text(max_size=5), some.text(min_size=1).filter(lambda name: name not in NAMES))
def test_a_new_package_moves_one_pick_at_most(seed: str, name: str) -> None:
    before, after = set(picked(25, seed).names), set(picked(25, seed, [*NAMES, name]).names)
    assert len(before - after) <= 1


def test_what_is_not_cached_comes_first() -> None:
    cached = frozenset(NAMES) - {"package-7", "package-8"}
    found = picked(3, cached=cached)
    assert set(found.names[:2]) == {"package-7", "package-8"}
    assert found.names[2] in cached


def test_what_can_not_be_built_is_passed_over_with_its_reason() -> None:
    asked: list[list[str]] = []

    def unfit(batch: list[str]) -> Mapping[str, str]:
        asked.append(batch)
        return {name: "it takes a licence" for name in batch if not name.endswith("5")}

    found = picked(25, unfit=unfit, failing={"package-5": "failed since yesterday", "gone": "failed"})
    assert len(found.names) == 25
    assert all(name.endswith("5") for name in found.names)
    assert "package-5" not in found.names
    assert found.passed["package-5"] == "failed since yesterday"
    assert set(found.passed.values()) == {"failed since yesterday", "it takes a licence"}
    # No recipe is looked into for nothing.
    assert all(len(batch) <= BATCH for batch in asked)
    assert sum(len(batch) for batch in asked) < len(NAMES)
    assert picked(500, unfit=lambda batch: dict.fromkeys(batch, "no")).names == ()

"""What is kept: whatever the DAGs, the rules and the dates, never a kept entry without its closure."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.catalog import Catalog
from cachelib.model.config import Retention
from cachelib.model.errors import PruneError, UsageError
from cachelib.model.request import parse_request
from cachelib.steps.image import PREFIX
from cachelib.steps.pruning import check
from cachelib.steps.retaining import PrunePlan, plan_prune
from tests.support.mirrors import make_catalog, make_node

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def catalog_of(*entries: tuple[Sequence[dict[str, Any]], str, int | None]) -> Catalog:
    """A catalog of specs, each with its stack and its age in days, where that is known."""
    made = make_catalog(*(nodes for nodes, _, _ in entries))
    about = {}
    for nodes, stack, days in entries:
        created = {"org.opencontainers.image.created": (NOW - timedelta(days=days)).isoformat()} if days is not None else {}
        about[nodes[0]["hash"]] = created | ({f"{PREFIX}stack": stack} if stack else {})
    return replace(made, entries={h: replace(entry, annotations=about[h]) for h, entry in made.entries.items()})


def kept(plan: PrunePlan) -> set[str]:
    return {item.entry.hash for item in plan.kept()}


@st.composite
def caches(draw: st.DrawFn) -> list[tuple[list[dict[str, Any]], str, int | None]]:
    """Entries over shared dependencies, of two stacks and of none, some of them not published, some without a date."""
    pool: list[tuple[dict[str, Any], dict[str, dict[str, Any]]]] = []
    for at in range(draw(st.integers(1, 14))):
        below = draw(st.lists(st.sampled_from(pool), max_size=3, unique_by=lambda p: p[0]["hash"])) if pool else []
        node = make_node(f"n{draw(st.integers(0, 3))}", f"1.{at}", dependencies=[b[0] for b in below])
        closure = {node["hash"]: node}
        for _, nodes in below:
            closure |= nodes
        pool.append((node, closure))
    published = draw(st.lists(st.sampled_from(pool), min_size=1, unique_by=lambda p: p[0]["hash"]))
    stacks, ages = st.sampled_from(["a", "b", "unknown", ""]), st.none() | st.integers(0, 200)
    return [(list(closure.values()), draw(stacks), draw(ages)) for _, closure in published]


RULES = st.builds(
    Retention,
    newest=st.integers(0, 3),
    days=st.integers(0, 100),
    pinned=st.lists(st.sampled_from(["n1", "n2@1.3", "n0@1.0:1.4"]), max_size=2, unique=True).map(tuple),
    max_size=st.sampled_from(["", "1 kB", "9 kB", "1 MB"]),
)


@given(caches(), RULES, RULES, st.data())
def test_nothing_that_is_kept_lacks_what_it_needs(
    entries: list[tuple[list[dict[str, Any]], str, int | None]], rule: Retention, other: Retention, data: st.DataObject
) -> None:
    catalog = catalog_of(*entries)
    locked = frozenset(data.draw(st.lists(st.sampled_from(sorted(catalog.entries)), max_size=2)))
    rules = {"a": rule, "b": other}
    plan = plan_prune(catalog, rules, locked, now=NOW)
    stays = kept(plan)
    assert {item.entry.hash for item in plan.items} == set(catalog.entries)
    for h in stays:
        assert {node.hash for node in catalog.spec(h).runtime_closure()} & set(catalog.entries) <= stays
    # The same, in whatever order the entries are told.
    shuffled = replace(catalog, entries=dict(data.draw(st.permutations(list(catalog.entries.items())))))
    assert plan_prune(shuffled, rules, locked, now=NOW) == plan
    for nodes, stack, days in entries:
        h = nodes[0]["hash"]
        retention = rules.get(stack)
        if (
            retention is None
            or not retention
            or h in locked
            or (retention.days and (days is None or days <= retention.days) and not retention.max_size)
            or any(parse_request(text).matches(catalog.spec(h)) for text in retention.pinned)
        ):
            assert h in stays
    for stack, retention in rules.items():
        _newest(catalog, entries, stack, retention, stays)


def _newest(
    catalog: Catalog, entries: list[tuple[list[dict[str, Any]], str, int | None]], stack: str, retention: Retention, stays: set[str]
) -> None:
    if not retention.newest or retention.max_size:
        return
    for name in {nodes[0]["name"] for nodes, _, _ in entries}:
        builds = [(days, nodes[0]["hash"]) for nodes, own, days in entries if own == stack and nodes[0]["name"] == name]
        ages = sorted((-1 if days is None else days) for days, _ in builds)[: retention.newest]
        assert sum(h in stays for _, h in builds) >= len(ages)
        for days, h in builds:
            if ages and (-1 if days is None else days) < ages[-1]:
                assert h in stays


def test_the_size_is_not_exceeded() -> None:
    nodes = [make_node(f"n{at}") for at in range(6)]
    catalog = catalog_of(*(([node], "a", at) for at, node in enumerate(nodes)))
    sizes = [catalog.entries[node["hash"]].tarball.size for node in nodes]
    limit = sizes[0] + sizes[1] + sizes[2]
    plan = plan_prune(catalog, {"a": Retention(max_size=f"{limit / 1000} kB")}, frozenset(), now=NOW)
    assert kept(plan) == {node["hash"] for node in nodes[:3]}
    pinned = plan_prune(catalog, {"a": Retention(max_size="1 B", pinned=("n5",))}, frozenset(), now=NOW)
    assert kept(pinned) == {nodes[5]["hash"]}


def test_each_target_has_its_newest() -> None:
    def built(version: str, target: str) -> dict[str, Any]:
        return make_node("n", version, arch={"platform": "linux", "platform_os": "debian12", "target": target})

    old, new, other = built("1", "x86_64_v3"), built("2", "x86_64_v3"), built("1", "aarch64")
    catalog = catalog_of(([old], "a", 9), ([new], "a", 1), ([other], "a", 50))
    plan = plan_prune(catalog, {"a": Retention(newest=1)}, frozenset(), now=NOW)
    assert kept(plan) == {new["hash"], other["hash"]}
    assert [item.reason for item in plan.doomed()] == ["no rule of its stack keeps it"]
    assert "needs it" in plan_prune(
        catalog_of(([make_node("t", dependencies=[old]), old], "a", 0), ([old], "a", 9), ([new], "a", 1)),
        {"a": Retention(newest=1)}, frozenset(), now=NOW,
    ).items[0].reason  # fmt: skip


def test_what_is_refused() -> None:
    nodes = [make_node(f"n{at}") for at in range(4)]
    catalog = catalog_of(*(([node], "a", 100) for node in nodes))
    nothing = plan_prune(catalog, {"a": Retention(days=1)}, frozenset(), now=NOW)
    for yes in (True, False):
        with pytest.raises(PruneError, match="no rule keeps any"):
            check(nothing, yes=yes)
    half = plan_prune(catalog, {"a": Retention(pinned=("n0", "n1"))}, frozenset(), now=NOW)
    with pytest.raises(PruneError, match="2 of 4 entries would go, 5"):
        check(half, yes=False)
    check(half, yes=True)
    check(PrunePlan(items=()), yes=False)


REQUESTED = make_node(
    "hdf5", "1.14.3", parameters={"build_system": "cmake", "mpi": True, "shared": False, "api": "v18", "langs": ["c", "cxx"]}
)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("hdf5", True), ("hdf", False), ("hdf5@1.14", True), ("hdf5@1.1", False), ("hdf5@=1.14", False), ("hdf5@=1.14.3", True),
        ("hdf5@1.12:1.14", True), ("hdf5@:1.13", False), ("hdf5@1.14.4:", False), ("hdf5@1.10,1.14", True), ("@1.14", True),
        (f"/{REQUESTED['hash'][:6]}", True), (f"hdf5/{REQUESTED['hash']}", True), ("/abcdef", False),
        ("hdf5+mpi", True), ("hdf5 ~mpi", False), ("hdf5 -shared", True), ("hdf5 +mpi~shared", True), ("hdf5 api=v18", True),
        ("hdf5 langs=c", True), ("hdf5 langs=c,cxx", True), ("hdf5 langs=fortran", False), ("hdf5 target=x86_64_v3", True),
        ("hdf5 os=debian12 platform=linux", True), ("hdf5 arch=linux-debian12-x86_64_v3", True), ('hdf5 api="v18"', True), ("hdf5 none=1", False),
    ],
)  # fmt: skip
def test_what_a_request_means(text: str, fits: bool) -> None:
    catalog = make_catalog([REQUESTED])
    assert parse_request(text).matches(catalog.spec(REQUESTED["hash"])) is fits


@pytest.mark.parametrize("text", ["", "  ", "hdf5 ^mpich", "hdf5 %gcc", "hdf5 zlib", "@", "hdf5 +", "a=", "/", "hdf5;rm", "+ mpi"])
def test_what_only_spack_can_tell_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_request(text)


@given(st.text(alphabet=st.sampled_from("ab1@:=.,/+~-^% \"'\n\\é_"), max_size=30))
def test_a_request_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_request(text).matches(make_catalog([REQUESTED]).spec(REQUESTED["hash"]))

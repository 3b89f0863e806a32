"""What is kept: the rules of `retention`, held against a slow and simple reading of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.catalog import Catalog
from cachelib.model.errors import ConfigError, PruneError, UsageError
from cachelib.model.spec import dag_hash
from cachelib.model.stack import Retention
from cachelib.steps.pruning import check
from cachelib.steps.retaining import SHARE, PrunePlan, plan_prune
from cachelib.tools.config_file import parse_settings
from tests.support.mirrors import make_catalog, make_node

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
STACK, CREATED = "io.github.spack-build-cache.stack", "org.opencontainers.image.created"
RUNTIME = {"link", "run"}


def day(ago: float) -> str:
    """A moment so many days ago, as a record writes it."""
    return (NOW - timedelta(days=ago)).isoformat()


@dataclass(slots=True)
class Build:
    """A spec, whether it is published, and what its image tells of it."""

    node: dict[str, Any]
    needs: list[tuple[Build, set[str]]] = field(default_factory=list)
    stack: str = "s"
    created: str = ""
    size: int = 10
    published: bool = True

    @property
    def hash(self) -> str:
        return str(self.node["hash"])

    def nodes(self) -> list[dict[str, Any]]:
        """The whole DAG, root first, each node once."""
        found = {self.hash: self.node}
        for build, _ in self.needs:
            found |= {node["hash"]: node for node in build.nodes()}
        return list(found.values())

    def closure(self) -> set[str]:
        """What it needs where it runs, and itself."""
        return {self.hash}.union(*(build.closure() for build, kinds in self.needs if kinds & RUNTIME))


def build(
    name: str, version: str = "1.0", *, needs: Iterable[Build | tuple[Build, set[str]]] = (), target: str = "zen3", **about: Any
) -> Build:
    """A build, its DAG hash right; what it needs is linked, or used as told."""
    pairs = [need if isinstance(need, tuple) else (need, {"build", "link"}) for need in needs]
    arch = {"platform": "linux", "platform_os": "debian12", "target": target}
    node = {key: value for key, value in make_node(name, version, [need.node for need, _ in pairs], arch=arch).items() if key != "hash"}
    for edge, (_, kinds) in zip(node.get("dependencies", ()), pairs, strict=True):
        edge["parameters"]["deptypes"] = sorted(kinds)
    return Build({**node, "hash": dag_hash(node)}, pairs, **about)


def catalog(builds: Sequence[Build]) -> Catalog:
    """The catalog of those builds that are published."""
    there = [build for build in builds if build.published]
    made = make_catalog(*(build.nodes() for build in there))
    entries = dict(made.entries)
    for item in there:
        told = {key: value for key, value in ((STACK, item.stack), (CREATED, item.created)) if value}
        tarball = replace(entries[item.hash].tarball, size=item.size)
        entries[item.hash] = replace(entries[item.hash], annotations=told, tarball=tarball)
    return replace(made, entries=entries)


def plan(builds: Sequence[Build], rules: Mapping[str, Retention] | Retention, locked: Iterable[str] = ()) -> PrunePlan:
    rules = {"s": rules} if isinstance(rules, Retention) else rules
    return plan_prune(catalog(builds), rules, frozenset(locked), now=NOW)


def kept(plan: PrunePlan) -> set[str]:
    return {item.entry.hash for item in plan.kept()}


def labels(plan: PrunePlan) -> list[str]:
    """The doomed ones as name@version."""
    return sorted(item.label.partition("/")[0] for item in plan.doomed())


def reasons(plan: PrunePlan) -> dict[str, str]:
    return {item.label.partition("/")[0]: item.reason for item in plan.items}


# --- Random caches -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """A cache, its rules, and what lock files name."""

    builds: tuple[Build, ...]
    rules: dict[str, Retention]
    locked: frozenset[str]

    def plan(self, seed: int | None = None) -> PrunePlan:
        """The plan; with a seed, everything is put in first that the plan may not hang on: its order."""
        made, rules = catalog(self.builds), self.rules
        if seed is not None:
            order = random.Random(seed)
            made = replace(made, entries=dict(order.sample(list(made.entries.items()), len(made.entries))))
            rules = dict(order.sample(list(rules.items()), len(rules)))
        return plan_prune(made, rules, self.locked, now=NOW)

    def without(self, hashes: Iterable[str]) -> World:
        """The same, after some entries are gone."""
        gone = set(hashes)
        return World(tuple(replace(b, published=b.published and b.hash not in gone) for b in self.builds), self.rules, self.locked)

    def there(self) -> dict[str, Build]:
        return {build.hash: build for build in self.builds if build.published}


AGES = st.sampled_from([0.0, 0.5, 3.0, 6.999, 7.0, 7.001, 20.0, 100.0, -2.0])
DATES = st.one_of(AGES.map(day), st.sampled_from(["2026-06-28T12:00:00+02:00", "2026-06-20", "0001-01-01"]))
UNKNOWN = ["", "yesterday", "2026-13-01"]
ANY_DATES = st.one_of(DATES, st.sampled_from(UNKNOWN))
KINDS = st.sampled_from([{"build"}, {"link"}, {"run"}, {"build", "link"}, {"test"}, {"build", "run"}])
PINS = st.lists(st.sampled_from(["a@1.0:1.2", "b", "c target=zen2", "d@1.3", "+nothing", "a~shared"]), max_size=2, unique=True).map(tuple)
RULES = st.builds(Retention, newest=st.integers(0, 2), days=st.sampled_from([0, 0, 1, 7]), pinned=PINS,
                  locks=st.sampled_from([(), (), ("spack.lock",)]))  # fmt: skip
SIZES = st.sampled_from(["", "0 B", "25 B", "0.06 kB", "1 GB"])
LIMITED = st.builds(lambda rules, size: replace(rules, max_size=size), RULES, SIZES)


@st.composite
def worlds(
    draw: Callable[..., Any],
    rules: st.SearchStrategy[Retention] = LIMITED,
    stacks: Sequence[str] = ("s", "t", "plain", "gone", ""),
    dates: st.SearchStrategy[str] = ANY_DATES,
) -> World:
    """Builds on builds, published or not, of stacks with rules (s, t), without (plain), unknown (gone) and none."""
    made: list[Build] = []
    for at in range(draw(st.integers(1, 9))):
        below = draw(st.lists(st.sampled_from(made), max_size=3, unique_by=lambda b: b.hash)) if made else []
        made.append(
            build(
                draw(st.sampled_from("abcd")), f"1.{at}", needs=[(need, draw(KINDS)) for need in below],
                target=draw(st.sampled_from(["zen2", "zen3"])), stack=draw(st.sampled_from(stacks)), created=draw(dates),
                size=draw(st.integers(0, 30)), published=draw(st.sampled_from([True, True, True, False])),
            )
        )  # fmt: skip
    named = {stack: draw(rules) for stack in stacks if stack in ("s", "t")}
    locked = draw(st.sets(st.sampled_from([build.hash for build in made] + ["z" * 32]), max_size=2))
    return World(tuple(made), {**named, "plain": Retention()} if "plain" in stacks else named, frozenset(locked))


def moment(build: Build) -> datetime:
    found = datetime.fromisoformat(build.created)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def pinned(item: Build, pins: Iterable[str]) -> bool:
    """The few pins of the random worlds, read by hand."""
    name, version, target = item.node["name"], int(item.node["version"][2:]), item.node["arch"]["target"]
    told = {
        "a@1.0:1.2": name == "a" and version <= 2, "b": name == "b", "c target=zen2": (name, target) == ("c", "zen2"),
        "d@1.3": (name, version) == ("d", 3), "+nothing": False, "a~shared": False,
    }  # fmt: skip
    return any(told[pin] for pin in pins)


def closures(world: World, roots: Iterable[str]) -> set[str]:
    there = world.there()
    return {h for root in roots for h in there[root].closure() if h in there}


def fixed(world: World, stack: str) -> set[str]:
    """What stays of a stack whatever its size: locked, pinned, or of an age that nobody knows; with what that needs."""
    rules = world.rules[stack]
    always = (h for h, b in world.there().items() if h in world.locked or pinned(b, rules.pinned) or (rules and b.created in UNKNOWN))
    roots = {h for h in always if world.there()[h].stack == stack}
    return closures(world, roots)


def alike(world: World, item: Build) -> list[Build]:
    """The builds of the same stack, package and target, and this one among them."""
    key = (item.stack, item.node["name"], item.node["arch"])
    return [other for other in world.there().values() if (other.stack, other.node["name"], other.node["arch"]) == key]


def expected_roots(world: World) -> set[str]:
    """Whatever a rule keeps by itself, where nothing limits the size."""
    roots = set()
    for h, item in world.there().items():
        retention = world.rules.get(item.stack)
        if not retention or h in world.locked or pinned(item, retention.pinned):
            roots.add(h)
            continue
        when = moment(item)
        rank = sorted(alike(world, item), key=lambda other: (moment(other), other.hash), reverse=True).index(item)
        if rank < retention.newest or (retention.days and when >= NOW - timedelta(days=retention.days)):
            roots.add(h)
    return roots


@given(worlds())
def test_what_is_kept_can_be_used(world: World) -> None:
    """The whole link/run closure of a kept entry is kept, as far as it is published; a build tool is nobody's need."""
    found, there = kept(world.plan()), world.there()
    for h in found:
        assert (there[h].closure() & there.keys()) <= found


@given(worlds(rules=RULES, dates=DATES))
def test_what_the_rules_keep_is_kept_and_nothing_else(world: World) -> None:
    assert kept(world.plan()) == closures(world, expected_roots(world))


@given(worlds(), st.integers(0, 9))
def test_the_plan_does_not_hang_on_the_order_of_things(world: World, seed: int) -> None:
    made = world.plan()
    assert world.plan(seed) == made
    assert [item.keep for item in made.items] == sorted(item.keep for item in made.items)
    assert {item.entry.hash for item in made.items} == world.there().keys()


@given(worlds())
def test_what_no_rule_is_meant_for_is_kept(world: World) -> None:
    found = kept(world.plan())
    assert {h for h, item in world.there().items() if not world.rules.get(item.stack)} <= found


@given(worlds())
def test_pinned_and_locked_stay_whatever_their_size(world: World) -> None:
    found = kept(world.plan())
    for stack in world.rules:
        assert fixed(world, stack) <= found


@given(worlds(stacks=("s",)))
def test_the_size_is_kept_to(world: World) -> None:
    """No more bytes than allowed are kept, but for what is pinned, locked or without a date, and what that needs."""
    found, limit = kept(world.plan()), world.rules["s"].max_bytes
    size = sum(world.there()[h].size for h in found)
    assert size <= limit or found == fixed(world, "s")


@given(worlds(stacks=("s",), dates=DATES))
def test_what_would_fit_is_kept(world: World) -> None:
    """Nothing that a rule keeps goes while there is room for it and its needs."""
    there, retention = world.there(), world.rules["s"]
    found, only_size = kept(world.plan()), not (retention.newest or retention.days or retention.pinned or retention.locks)
    wanted = there.keys() if only_size else expected_roots(world)
    room = retention.max_bytes - sum(there[h].size for h in found)
    assert all(sum(there[n].size for n in closures(world, [h]) - found) > room for h in wanted - found if retention)


@given(worlds(stacks=("s", "")))
def test_a_limit_of_the_size_only_takes_away(world: World) -> None:
    limited, unlimited = (
        World(world.builds, {"s": replace(world.rules["s"], newest=0, days=7, max_size=size)}, world.locked)
        for size in (world.rules["s"].max_size, "")
    )
    assert kept(limited.plan()) <= kept(unlimited.plan())


@given(worlds(rules=RULES, dates=DATES))
def test_the_newest_are_the_newest(world: World) -> None:
    """Of each package and target of a stack, whatever goes is older than as many as the rule keeps."""
    doomed = {item.entry.hash for item in world.plan().doomed()}
    for h in doomed:
        item = world.there()[h]
        newer = [other for other in alike(world, item) if other is not item and moment(other) >= moment(item)]
        assert len(newer) >= world.rules[item.stack].newest


@given(worlds(rules=RULES))
def test_nothing_young_goes(world: World) -> None:
    for gone in world.plan().doomed():
        item = world.there()[gone.entry.hash]
        if days := world.rules[item.stack].days:
            # Where nobody tells when it was built, it is not for its age that it goes.
            assert item.created not in UNKNOWN
            assert moment(item) < NOW - timedelta(days=days)


@given(worlds(rules=RULES), st.data())
def test_a_lock_saves_and_costs_nothing(world: World, data: st.DataObject) -> None:
    more = data.draw(st.sets(st.sampled_from(sorted(build.hash for build in world.builds))))
    before, after = kept(world.plan()), kept(World(world.builds, world.rules, world.locked | more).plan())
    assert before <= after
    assert {h for h in more if h in world.there()} <= after


@given(worlds(rules=RULES))
def test_pruned_twice_is_pruned_once(world: World) -> None:
    first = world.plan()
    again = world.without(item.entry.hash for item in first.doomed()).plan()
    assert again.doomed() == ()
    assert kept(again) == kept(first)


@given(worlds(rules=RULES), st.data())
def test_a_pruning_that_broke_off_ends_where_it_was_going(world: World, data: st.DataObject) -> None:
    first = world.plan()
    doomed = [item.entry.hash for item in first.doomed()]
    gone = data.draw(st.sets(st.sampled_from(doomed))) if doomed else set()
    assert kept(world.without(gone).plan()) == kept(first)


# --- One rule at a time ------------------------------------------------------------------------------------------------------------------


def test_newest_counts_by_package_and_target() -> None:
    builds = [
        build("a", "1", created=day(3)), build("a", "2", created=day(2)), build("a", "3", created=day(9)),
        build("a", "4", created=day(50), target="zen2"), build("b", "1", created=day(400)),
    ]  # fmt: skip
    found = plan(builds, Retention(newest=2))
    assert labels(found) == ["a@3"]
    assert reasons(found) == {
        "a@3": "no rule of its stack keeps it", "a@1": "one of the 2 newest of a for zen3", "a@2": "one of the 2 newest of a for zen3",
        "a@4": "one of the 2 newest of a for zen2", "b@1": "one of the 2 newest of b for zen3",
    }  # fmt: skip


def test_what_is_kept_without_a_rule_says_why() -> None:
    builds = [build("a", stack="plain"), build("b", stack="gone"), build("c", stack=""), build("d", size=7, created=day(1))]
    assert reasons(plan(builds, {"s": Retention(max_size="7 B"), "plain": Retention()})) == {
        "a@1.0": "stack plain keeps everything", "b@1.0": "no stack of cache.yaml is called 'gone'", "c@1.0": "it names no stack",
        "d@1.0": "fits into 7 B",
    }  # fmt: skip


def test_newest_counts_each_stack_by_itself() -> None:
    builds = [build("a", f"{at}", stack=stack, created=day(at)) for at, stack in enumerate("ststst")]
    assert labels(plan(builds, {"s": Retention(newest=1), "t": Retention(newest=2)})) == ["a@2", "a@4", "a@5"]


def test_the_last_days_are_counted_to_the_moment() -> None:
    builds = [build("a", f"{at}", created=day(ago)) for at, ago in enumerate((6.9999, 7, 7.0001))]
    found = plan(builds, Retention(days=7))
    assert labels(found) == ["a@2"]
    assert reasons(found)["a@1"].startswith("built in the last 7 days")


@pytest.mark.parametrize(
    ("created", "stays"),
    [
        ("2026-06-24T12:00:00Z", True), ("2026-06-24T14:00:00+02:00", True), ("2026-06-24T13:59:59+02:00", False),
        ("2026-06-24T11:59:59Z", False), ("2026-06-24T12:00:00", True), ("2026-06-24T11:59:59", False), ("2026-06-24", False),
        ("2026-06-24T12:00:00.000001+00:00", True), ("1970-01-01T00:00:00Z", False), ("0001-01-01T00:00:00+23:59", False),
        ("9999-12-31T23:59:59-23:59", True), ("", True), ("last week", True), ("2026-02-30T00:00:00Z", True), ("\x00", True),
    ],
)  # fmt: skip
def test_a_date_is_read_as_it_is_written(created: str, stays: bool) -> None:
    assert (labels(plan([build("a", created=created)], Retention(days=7))) == []) is stays


def test_what_has_no_date_does_not_go_for_its_age() -> None:
    assert labels(plan([build("a", "1"), build("a", "2"), build("a", "3", created=day(1))], Retention(newest=1))) == []


def test_what_has_no_date_takes_nobodys_place() -> None:
    assert labels(plan([build("a", "1"), build("a", "2", created=day(1)), build("a", "3", created=day(2))], Retention(newest=1))) == ["a@3"]


def test_pins_are_requests() -> None:
    builds = [build("a", f"1.{at}", created=day(50), target=target) for at in range(3) for target in ("zen2", "zen3")]
    found = plan(builds, Retention(pinned=("a@1.1: target=zen2", f"/{builds[1].hash[:9]}")))
    assert labels(found) == ["a@1.0", "a@1.1", "a@1.2"]
    assert {item.reason for item in found.kept()} == {"pinned by 'a@1.1: target=zen2'", f"pinned by '/{builds[1].hash[:9]}'"}


def test_a_pin_that_is_no_request_stops_everything() -> None:
    with pytest.raises(UsageError, match="not understood"):
        plan([build("a")], Retention(pinned=("a ^b",), newest=1))


def test_locks_keep_what_they_name_in_every_stack() -> None:
    builds = [build("a", "1", created=day(9)), build("b", "1", created=day(9)), build("c", "1", stack="t", created=day(9))]
    found = plan(builds, {"s": Retention(days=1), "t": Retention(days=1)}, [builds[0].hash, builds[2].hash, "q" * 32])
    assert labels(found) == ["b@1"]
    assert reasons(found)["a@1"] == "a lock file or keeplist names it"


def test_what_is_needed_says_by_whom() -> None:
    deep = build("deep", created=day(99))
    library = build("library", needs=[deep], created=day(99))
    tool = build("tool", created=day(99))
    top = build("top", needs=[(library, {"run"}), (tool, {"build"})], created=day(1))
    found = plan([deep, library, tool, top], Retention(days=7))
    assert labels(found) == ["tool@1.0"]
    assert reasons(found)["deep@1.0"] == reasons(found)["library@1.0"] == f"top@1.0/{top.hash[:7]} needs it"


def test_what_other_stacks_need_stays() -> None:
    library = build("library", stack="s", created=day(99))
    for stack, rules in (("t", Retention(newest=1)), ("plain", Retention()), ("gone", None), ("", None)):
        top = build("top", stack=stack, needs=[library], created=day(99))
        assert labels(plan([library, top], {"s": Retention(days=1), **({stack: rules} if rules is not None else {})})) == []


def test_a_need_that_is_not_published_is_passed_over() -> None:
    deep = build("deep", created=day(99))
    middle = build("middle", needs=[deep], published=False)
    top = build("top", needs=[middle], created=day(1))
    assert labels(plan([deep, middle, top], Retention(days=7))) == []


def test_externals_are_nobodys_entries() -> None:
    glibc = Build(make_node("glibc", external={"path": "/usr", "module": None}), published=False)
    top = build("top", needs=[glibc], created=day(1))
    assert labels(plan([glibc, top, build("old", created=day(9))], Retention(days=7))) == ["old@1.0"]


def test_entries_of_an_older_format_are_held_to_the_same_rules() -> None:
    node = {
        "name": "zlib", "version": "1.2", "hash": "a" * 32, "namespace": "builtin", "parameters": {},
        "arch": {"platform": "linux", "platform_os": "debian12", "target": {"name": "zen3"}},
    }  # fmt: skip
    made = make_catalog(older=[node])
    for created, left in ((day(1), 1), (day(9), 0)):
        old = replace(made, entries={"a" * 32: replace(made.entries["a" * 32], annotations={STACK: "s", CREATED: created})})
        assert len(plan_prune(old, {"s": Retention(days=7)}, frozenset(), now=NOW).kept()) == left


def test_nothing_is_planned_for_nothing() -> None:
    found = plan([], Retention(newest=1))
    assert (found, found.share()) == (PrunePlan(items=()), 0.0)
    check(found, yes=False)


# --- Size --------------------------------------------------------------------------------------------------------------------------------


def test_of_what_the_rules_keep_the_newest_that_fits_stays() -> None:
    builds = [build(name, created=day(at), size=40) for at, name in enumerate("abcd")]
    assert labels(plan(builds, Retention(days=30, max_size="80 B"))) == ["c@1.0", "d@1.0"]
    assert labels(plan(builds, Retention(max_size="119 B"))) == ["c@1.0", "d@1.0"]
    assert labels(plan(builds, Retention(max_size="0.12 kB"))) == ["d@1.0"]


def test_what_is_too_large_makes_room_for_what_is_not() -> None:
    builds = [build("a", created=day(1), size=100), build("b", created=day(2), size=10), build("c", created=day(3), size=30)]
    assert labels(plan(builds, Retention(max_size="40 B"))) == ["a@1.0"]


def test_an_entry_counts_with_all_that_it_needs_and_what_is_shared_once() -> None:
    library = build("library", created=day(9), size=50)
    first, second = (build(name, needs=[library], created=day(at), size=10) for at, name in enumerate("ab"))
    assert labels(plan([library, first, second], Retention(days=7, max_size="59 B"))) == ["a@1.0", "b@1.0", "library@1.0"]
    assert labels(plan([library, first, second], Retention(days=7, max_size="60 B"))) == ["b@1.0"]
    assert labels(plan([library, first, second], Retention(days=7, max_size="70 B"))) == []


def test_pins_and_locks_go_before_what_is_newer_and_over_the_limit() -> None:
    builds = [build("a", created=day(9), size=60), build("b", created=day(9), size=60), build("c", created=day(0), size=10)]
    rules = Retention(newest=1, pinned=("a",), max_size="100 B")
    assert labels(plan(builds, rules, [builds[1].hash])) == ["c@1.0"]


def test_a_limit_of_the_size_ends_where_it_was_going() -> None:
    """With `newest` and `max_size`: a pruning that broke off is taken up, and keeps what the first one would have deleted."""
    large, small = build("a", "2", created=day(1), size=100), build("a", "1", created=day(2), size=10)
    rules = Retention(newest=1, max_size="50 B")
    first = kept(plan([large, small], rules))
    assert kept(plan([small], rules)) == first & {small.hash}


@pytest.mark.parametrize(
    ("text", "size"),
    [("", float("inf")), ("0 B", 0), ("1B", 1), ("5 kB", 5e3), ("50 GB", 50e9), ("1.5TB", 1.5e12), ("0.5 MB", 5e5), ("007 MB", 7e6)],
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert Retention(max_size=text).max_bytes == size


# --- Shares, and what is refused ---------------------------------------------------------------------------------------------------------


def many(doomed: int, stay: int, *, size: int = 1, staying: int = 1) -> PrunePlan:
    gone = [build("old", f"{at}", created=day(99), size=size) for at in range(doomed)]
    here = [build("new", f"{at}", created=day(0), size=staying) for at in range(stay)]
    return plan([*gone, *here], Retention(days=7))


def test_the_share_is_that_of_the_entries_or_of_the_bytes() -> None:
    assert many(1, 3).share() == 0.25
    assert many(1, 9, size=91, staying=1).share() == 0.91
    assert many(5, 5, size=0, staying=0).share() == 0.5
    assert many(0, 5).share() == 0.0


def test_a_large_share_takes_a_yes() -> None:
    assert SHARE == 0.25
    check(many(1, 3), yes=False)
    check(many(2, 3), yes=True)
    for cut in (many(2, 3), many(1, 9, size=91)):
        with pytest.raises(PruneError, match=r"of the cache; nothing was deleted") as caught:
            check(cut, yes=False)
        assert "--dry-run" in caught.value.hint
        assert "--yes" in caught.value.hint


@pytest.mark.parametrize("yes", [False, True])
def test_an_empty_cache_is_never_the_aim(yes: bool) -> None:
    with pytest.raises(PruneError, match="no rule keeps any of the 3 entries; nothing was deleted") as caught:
        check(many(3, 0), yes=yes)
    assert "retention" in caught.value.hint


def test_a_plan_spares_what_it_is_told_to() -> None:
    before = many(3, 1)
    (first, *rest) = before.doomed()
    after = before.sparing(frozenset({first.entry.hash, before.kept()[0].entry.hash}), "because")
    assert after.doomed() == tuple(rest)
    assert {item.entry.hash: item.reason for item in after.items if item.reason == "because"} == {first.entry.hash: "because"}
    assert len(after.items) == len(before.items)


# --- cache.yaml --------------------------------------------------------------------------------------------------------------------------

PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"


def retention(text: str) -> Retention:
    yaml = f"stacks:\n  s:\n    spack: {PIN}\n    packages: {PIN}\n    specs: [zlib]\n    retention: {text}\n"
    settings = parse_settings(yaml, "cache.yaml", Path())
    return settings.stacks["s"].retention


def test_rules_are_read_from_cache_yaml() -> None:
    assert retention("{newest: 3, days: 14, pinned: ['hdf5@1.14 +mpi'], locks: [env/*/spack.lock], max_size: 50 GB}") == Retention(
        newest=3, days=14, pinned=("hdf5@1.14 +mpi",), locks=("env/*/spack.lock",), max_size="50 GB"
    )
    assert not retention("{}")
    for text in ("{newest: 1}", "{days: 1}", "{pinned: [a]}", "{locks: [a]}", "{max_size: 0 B}"):
        assert retention(text)
    assert not retention("{newest: 0, days: 0, pinned: [], locks: []}")


@pytest.mark.parametrize(
    "text",
    [
        "{newest: -1}", "{days: 36501}", "{newest: many}", "{newest: 1.5}", "{days: -1}", "{days: '7'}", "{pinned: a}", "{pinned: ['']}", '{pinned: ["a\\nb"]}',
        "{locks: spack.lock}", "{locks: ['']}", "{max_size: 50}", "{max_size: 50 GiB}", "{max_size: 50GBs}", "{max_size: -1 GB}",
        "{max_size: '1e9 B'}", '{max_size: "1 GB\\n"}', "{max_size: .5 GB}", "{oldest: 1}", "3",
    ],
)  # fmt: skip
def test_rules_that_can_not_be_meant_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="retention") as caught:
        retention(text)
    assert caught.value.hint

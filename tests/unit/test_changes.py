"""Why a spec is built though its package is in the cache, and why one is left out that could be built."""

from __future__ import annotations

from typing import Any

import pytest

from cachelib.model.licenses import BY_RECIPE
from cachelib.model.plan import Action
from cachelib.model.schedule import Costs, Limits
from cachelib.model.spec import Node, parse_node
from cachelib.steps import planning
from cachelib.steps.building import parse_lock
from cachelib.steps.changes import changed
from tests.support.mirrors import make_node

BASE = {"build_system": "generic", "shared": True, "cflags": []}


def node(version: str = "1.0", dependencies: list[dict[str, Any]] | None = None, **more: Any) -> Node:
    return parse_node(make_node("top", version=version, dependencies=dependencies or [], **more))


OLD = make_node("base", version="1")
NEW = make_node("base", version="2")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (node("2.0"), "version 1.0 -> 2.0"),
        (node(parameters={**BASE, "mpi": True}), "variant mpi"),
        (node(package_hash="other===="), "its recipe"),
        (node(dependencies=[NEW]), "needs base"),
    ],
)
def test_what_differs_is_named(other: Node, said: str) -> None:
    assert changed(other, [node()]) == f"changed since {node().label}: {said}"


def test_a_dependency_that_is_another_build() -> None:
    before, after = node(dependencies=[OLD]), node(dependencies=[NEW])
    assert changed(after, [before]) == f"changed since {before.label}: dependency base"
    assert "no longer needs base" in changed(node(), [before])


def test_the_nearest_build_is_compared_the_newest_where_several_are() -> None:
    near, far = node("1.0"), node("0.1", parameters={"mpi": True})
    assert changed(node("2.0"), [far, near]).startswith(f"changed since {near.label}: version")
    assert changed(node("2.0"), []) == ""
    assert changed(node(), [node()]) == ""


def test_many_differences_are_counted() -> None:
    other = node("2.0", parameters=BASE | dict.fromkeys("abcdef", True))
    assert changed(other, [node()]).endswith(" and 3 more")


def plan(restricted: set[str], **more: Any) -> dict[str, tuple[Action, str]]:
    licensed = make_node("licensed")
    user = make_node("user", dependencies=[licensed])
    tool = make_node("tool")
    alone = make_node("alone", dependencies=[tool])
    nodes = {one["hash"]: one for one in (licensed, user, tool, alone)}
    roots = [{"hash": one["hash"], "spec": one["name"]} for one in (user, alone, licensed)]
    by_name = {one["name"]: one["hash"] for one in nodes.values()}
    made = planning.make_plan(
        parse_lock({"concrete_specs": nodes, "roots": roots}), id="0123abcd", stack="s", image="v1.1", runner="r", present={}, seconds={},
        limits=Limits(), costs=Costs(), restricted={by_name[name]: BY_RECIPE for name in restricted}, **more,
    )  # fmt: skip
    return {item.label.partition("@")[0]: (item.action, item.reason) for item in made.items}


def test_what_may_not_be_given_away_is_left_out_with_what_only_it_needs() -> None:
    told = plan({"alone"})
    assert told["alone"] == (Action.RESTRICTED, "its recipe doesn't allow its binaries to be given away")
    assert told["tool"][0] is Action.IDLE
    assert told["user"][0] is Action.BUILD


def test_what_may_not_be_given_away_but_serves_to_build_is_built() -> None:
    told = plan({"licensed"})
    assert told["licensed"][0] is Action.BUILD
    assert plan({"licensed", "user"})["licensed"][0] is Action.RESTRICTED


def test_the_plan_says_what_changed() -> None:
    told = plan(set(), builds={"tool": [parse_node(make_node("tool", version="0.9"))]})
    assert "changed since tool@0.9" in told["tool"][1]
    assert told["alone"][1].endswith("and not in the cache")

"""Plans: what is built and what isn't, each with its reason; and what GitHub is told, whatever a person wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.catalog import Catalog
from cachelib.model.plan import Action, StackPlan
from cachelib.model.schedule import Costs, Limits
from cachelib.steps import plan_reports, planning
from cachelib.steps.building import Lock, parse_lock
from cachelib.steps.reports import Report
from cachelib.tools import actions
from tests.support.mirrors import make_catalog, make_node

Node = dict[str, Any]
COSTS = Costs()


def link(node: Node, *needs: tuple[Node, str]) -> Node:
    """A node that needs others, each for a reason of its own."""
    edges = [{"name": other["name"], "hash": other["hash"], "parameters": {"deptypes": [kind], "virtuals": []}} for other, kind in needs]
    return {**node, "dependencies": edges}


LIBC = make_node("glibc", external={"path": "/usr", "module": None})
COMPILER = link(make_node("gcc"), (LIBC, "link"))
TOOL = link(make_node("cmake"), (COMPILER, "build"))
LIBRARY = link(make_node("zlib"), (COMPILER, "build"), (LIBC, "link"))
PROGRAM = link(make_node("curl"), (TOOL, "build"), (LIBRARY, "link"))
NODES = (LIBC, COMPILER, TOOL, LIBRARY, PROGRAM)


def lock(roots: dict[str, str] | None = None, nodes: tuple[Node, ...] = NODES) -> Lock:
    found = {PROGRAM["hash"]: "curl"} if roots is None else roots
    return parse_lock({
        "concrete_specs": {node["hash"]: node for node in nodes}, "roots": [{"hash": h, "spec": text} for h, text in found.items()],
    })  # fmt: skip


def plan(made: Lock, present: tuple[Node, ...] = (), limits: Limits | None = None, seconds: dict[str, float] | None = None) -> StackPlan:
    return planning.make_plan(
        made, id="0123abcd", stack="s", image="v1.1", runner="ubuntu-24.04", present={node["hash"]: "published" for node in present},
        seconds=seconds or {}, limits=limits or Limits(), costs=COSTS,
    )  # fmt: skip


def told(made: StackPlan) -> dict[str, tuple[str, str]]:
    return {item.label.partition("@")[0]: (item.action.value, re.sub(r"/\w{7}", "", item.reason)) for item in made.items}


def test_everything_that_a_request_needs_is_built() -> None:
    assert told(plan(lock())) == {
        "curl": ("build", "requested as 'curl', and not in the cache"), "cmake": ("build", "curl@1.0 needs it, and not in the cache"),
        "zlib": ("build", "curl@1.0 needs it, and not in the cache"), "gcc": ("build", "cmake@1.0 needs it, and not in the cache"),
        "glibc": ("external", "taken from the machine"),
    }  # fmt: skip


def test_what_is_there_needs_no_build_tools() -> None:
    made = told(plan(lock(), (PROGRAM, LIBRARY)))
    assert {name: action for name, (action, _) in made.items()} == {
        "curl": "present", "zlib": "present", "cmake": "idle", "gcc": "idle", "glibc": "external",
    }  # fmt: skip
    assert made["cmake"][1] == "only needed to build what is there already"


def test_a_hole_in_what_is_there_is_mended() -> None:
    """A library that was pruned, or whose push failed: who installs the program needs it."""
    made = told(plan(lock(), (PROGRAM,)))
    assert {name for name, (action, _) in made.items() if action == "build"} == {"zlib", "gcc"}


def test_what_is_there_is_used_to_build_the_rest() -> None:
    made = plan(lock(), (LIBRARY, COMPILER, TOOL))
    assert [slot.builds for slots in made.schedule.workers for slot in slots] == [(PROGRAM["hash"],)]
    assert made.needs == {PROGRAM["hash"]: ()}


def test_nothing_to_do_is_no_job() -> None:
    made = plan(lock(), NODES)
    assert (made.jobs(), made.of(Action.BUILD), made.bound) == ([], (), 0.0)
    assert "nothing to build, 2 specs are in the cache" not in plan_reports.plan_report([made], Report(lines=()), "here").text
    assert "stack s: nothing to build, 4 specs are in the cache" in plan_reports.plan_report([made], Report(lines=()), "here").text
    assert "mermaid" not in plan_reports.summary([made], COSTS)


def test_what_has_no_time_is_left_with_its_reason() -> None:
    made = plan(lock(), (COMPILER, TOOL), seconds={"curl": 1e5, "zlib": 60.0})
    assert told(made)["curl"] == ("left over", "it takes 27.8 h, longer than a job may run")
    assert told(made)["zlib"][0] == "build"
    assert "1 to build, 2 in the cache, 1 left over" in plan_reports.plan_report([made], Report(lines=()), "here").text


def test_times_are_the_median_of_what_is_known() -> None:
    def entry(version: str, seconds: str) -> Catalog:
        node = make_node("zlib", version)
        made = make_catalog([node])
        about = {"org.opencontainers.image.title": f"zlib@{version}", "io.github.spack-build-cache.build.seconds": seconds}
        return Catalog(entries={h: _annotated(found, about) for h, found in made.entries.items()})

    catalogs = [entry(f"1.{at}", text) for at, text in enumerate(["10", "30", "90", "", "-5", "nan", "inf", "soon"])]
    whole = Catalog(entries={h: found for made in catalogs for h, found in made.entries.items()})
    assert planning.known_seconds(whole) == {"zlib": 30.0}
    made = plan(lock(), (COMPILER, TOOL), seconds={"zlib": 30.0, "other": 50.0})
    assert {item.label.partition("@")[0]: item.seconds for item in made.of(Action.BUILD)} == {"zlib": 30.0, "curl": 40.0}


def _annotated(entry: Any, about: dict[str, str]) -> Any:
    from dataclasses import replace

    return replace(entry, annotations=about)


@st.composite
def stacks(draw: Callable[..., Any]) -> tuple[Lock, frozenset[str]]:
    made: list[Node] = []
    for at in range(draw(st.integers(1, 12))):
        below = draw(st.lists(st.sampled_from(made), max_size=3, unique_by=lambda n: n["hash"])) if made else []
        kinds = [draw(st.sampled_from(["build", "link", "run", "test"])) for _ in below]
        made.append(link(make_node(f"p{at}"), *zip(below, kinds, strict=True)))
    roots = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique_by=lambda n: n["hash"]))
    there = draw(st.frozensets(st.sampled_from([node["hash"] for node in made])))
    return lock({node["hash"]: node["name"] for node in roots}, tuple(made)), there


@given(stacks())
def test_after_the_plan_every_request_can_be_installed(made: tuple[Lock, frozenset[str]]) -> None:
    """What is built finds all that it needs; and what is asked for is there with all that it needs at run time."""
    found, there = made
    built = planning.needed(found, dict.fromkeys(there, "published"))
    after = there | built.keys()
    for h in built:
        assert {edge.hash for edge in found.nodes[h].dependencies} <= after
    waiting = list(found.roots)
    while waiting:
        h = waiting.pop()
        assert h in after
        waiting += [edge.hash for edge in found.nodes[h].dependencies if edge.deptypes & {"link", "run"}]
    assert not built.keys() & there
    # And nothing twice: a second plan has nothing left to build.
    assert planning.needed(found, dict.fromkeys(after, "published")) == {}


HOSTILE = [
    "$(id)", "a;b", "a\nb", "${{ secrets.X }}", "::set-env name=A::b", "a`b", "<script>", "|x|", "[x](http://y)", "\x1b[2J", '"] --> x', "%%{init}%%",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_person_wrote_stays_text(text: str) -> None:
    made = plan(lock({PROGRAM["hash"]: text}))
    summary = plan_reports.summary([made], COSTS)
    rows = [line for line in summary.splitlines() if line.startswith("| curl")]
    assert len(rows) == 1
    assert rows[0].count("|") == 6
    assert not re.search(r"[<`$\x1b]|\]\(|::", rows[0])
    assert all(not line.startswith("::") for line in plan_reports.plan_report([made], Report(lines=()), "here").text.splitlines())


def test_pictures_are_drawn_of_what_can_be_looked_at() -> None:
    summary = plan_reports.summary([plan(lock())], COSTS)
    assert summary.count("```mermaid") == 2
    assert "section Worker 1" in summary
    assert f"  {LIBRARY['hash']} --> {PROGRAM['hash']}" in summary
    # Bars follow each other as the schedule says.
    bars = {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"  (\w+) 1\.0 :(\d+), (\d+)", summary)}
    assert bars["gcc"][0] == COSTS.job + COSTS.slot
    assert bars["gcc"][1] <= bars["zlib"][0] < bars["zlib"][1] <= bars["curl"][0]
    many = tuple(make_node(f"p{at}") for at in range(plan_reports.DRAWN + 1))
    crowded = plan_reports.summary([plan(lock({node["hash"]: node["name"] for node in many}, many))], COSTS)
    assert (crowded.count("```mermaid"), "flowchart" in crowded) == (1, False)


@pytest.mark.parametrize("value", ["1", "a\nb", "x<<EOF\nEOF", "evil=1\nother=2", ""])
def test_an_output_can_not_set_another(tmp_path: Path, value: str) -> None:
    path = tmp_path / "output"
    actions.set_outputs({"GITHUB_OUTPUT": str(path)}, {"one": value, "two": "2"})
    found, lines = {}, path.read_text().split("\n")
    while lines and lines != [""]:
        name, end = lines.pop(0).split("<<")
        at = lines.index(end)
        found[name], lines = "\n".join(lines[:at]), lines[at + 1 :]
    assert found == {"one": value, "two": "2"}


def test_a_folder_of_path_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "path"
    actions.add_to_path({"GITHUB_PATH": str(path)}, Path("/opt/spack/bin"))
    with pytest.raises(ValueError, match="several"):
        actions.add_to_path({"GITHUB_PATH": str(path)}, Path("/opt\n/evil"))
    assert path.read_text() == "/opt/spack/bin\n"


def test_elsewhere_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    actions.set_outputs({}, {"one": "1"})
    actions.set_variables({}, {"ONE": "1"})
    actions.add_to_path({}, tmp_path)
    actions.add_summary({}, "text")
    assert list(tmp_path.iterdir()) == []


def test_a_summary_that_is_too_long_is_cut_and_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("before\n")
    actions.add_summary({"GITHUB_STEP_SUMMARY": str(path)}, "ä" * 700_000)
    data = path.read_bytes()
    assert data.startswith(b"before\n")
    assert len(data) - len(b"before\n") <= actions.SUMMARY_LIMIT
    assert data.decode().endswith("cut here: a summary may have 1 MiB.\n")


def test_a_plan_is_json() -> None:
    made = plan(lock())
    body = json.loads(json.dumps(made.json()))
    assert {item["action"] for item in body["items"]} == {"build", "external"}
    assert made.jobs()[0] == {
        "name": "build (s on ubuntu-24.04, worker 1)", "plan": "s-0123abcd", "worker": 1, "runner": "ubuntu-24.04", "container": "",
        "slots": len(made.schedule.workers[0]),
    }  # fmt: skip


def test_a_simulation_compares() -> None:
    made = plan(lock(), seconds={"gcc": 3600.0, "cmake": 600.0, "zlib": 60.0, "curl": 60.0})
    report = plan_reports.simulation([made], [1, 5], Limits(), COSTS)
    (found,) = report.data
    one, five = found["rows"]
    assert (one["runners"], one["used"], one["leftOver"]) == (1, 1, 0)
    assert one["seconds"] == 180 + 2 * 30 + 4320, "what took an hour is handed on"
    assert five["bound"] == 180 + 4260 <= five["seconds"] <= one["seconds"] < five["waves"]
    assert report.text.splitlines()[0] == "stack s: 4 specs, 72 min of building"
    assert "nothing to build" in plan_reports.simulation([plan(lock(), NODES)], [1], Limits(), COSTS).text

"""What is remembered of failures: since when, how often, when they are tried again, and how people are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cachelib.model.errors import CacheError
from cachelib.model.failure import Failure, merge_failures, parse_failures
from cachelib.model.oci import LayoutLocation
from cachelib.model.outcome import Built, Failed, Skipped
from cachelib.model.record import Origin, Record, parse_record
from cachelib.steps import failure_reports, planning, remembering
from cachelib.steps.building import parse_lock
from cachelib.steps.plan_reports import plan_report
from cachelib.steps.reports import Report
from cachelib.tools import actions
from cachelib.tools.layout import LayoutRepository
from tests.support.mirrors import make_node

HASH = "a" * 32


def record(h: str = HASH, at: str = "2026-11-01T00:00:00Z", outcome: object = None, **more: str) -> Record:
    failed = Failed(phase="build", message="it broke", error_lines=("1: no such file",), log="/somewhere")
    return Record(name="zlib", version="1.3", hash=h, outcome=outcome or failed, origin=Origin(created=at, **more))  # type: ignore[arg-type]


def failure(**more: object) -> Failure:
    held = {"hash": HASH, "label": "zlib@1.3/aaaaaaa", "phase": "build", "message": "it broke", "since": "2026-11-01T00:00:00Z"}
    return Failure(**{**held, "last": "2026-11-01T00:00:00Z", **more})  # type: ignore[arg-type]


def test_a_failure_is_counted_once_an_attempt() -> None:
    first = merge_failures({}, [record()], frozenset())
    assert (first[HASH].times, first[HASH].since, first[HASH].last) == (1, "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert merge_failures(first, [record()], frozenset()) == first
    second = merge_failures(first, [record(at="2026-11-05T00:00:00Z")], frozenset())
    assert (second[HASH].times, second[HASH].since, second[HASH].last) == (2, "2026-11-01T00:00:00Z", "2026-11-05T00:00:00Z")
    # An older record that comes late tells nothing.
    assert merge_failures(second, [record()], frozenset()) == second


def test_what_was_built_or_is_published_failed_no_more() -> None:
    known = {HASH: failure()}
    assert merge_failures(known, [record(outcome=Built(seconds=1.0))], frozenset()) == {}
    assert merge_failures(known, [], frozenset({HASH})) == {}
    assert merge_failures(known, [record(outcome=Skipped(reason="no time"))], frozenset()) == known


@pytest.mark.parametrize(("times", "day"), [(1, "2026-11-02"), (2, "2026-11-03"), (3, "2026-11-05"), (4, "2026-11-09"), (9, "2026-11-15")])
def test_it_is_tried_ever_more_rarely(times: int, day: str) -> None:
    assert f"{failure(times=times).next_try():%Y-%m-%d}" == day


def test_failures_are_json() -> None:
    held = failure(error_lines=("a", "b"), origin=Origin(stack="s", spack_version="1.1.0"), log="sha256:x", spec="sha256:y")
    assert parse_failures({"failures": [held.json()]}) == {HASH: held}
    bad: object
    for bad in (5, {**held.json(), "since": "yesterday"}, {**held.json(), "origin": {"x": 1}}, {**held.json(), "times": "often"}, []):
        assert parse_failures({"failures": [bad, held.json()]}) == {HASH: held}  # one costs no other
    for none in ({}, {"failures": 5}):
        with pytest.raises(CacheError):
            parse_failures(none)


def repository(folder: Path) -> LayoutRepository:
    return LayoutRepository(LayoutLocation(path=folder / "r"))


def test_the_registry_remembers(tmp_path: Path) -> None:
    held = repository(tmp_path)
    assert remembering.known_failures(held) == {}
    made = remembering.remember_failures(held, [record()], lambda h: b"the whole log", lambda h: b"{}", frozenset())
    again = repository(tmp_path)
    assert remembering.known_failures(again) == made
    assert remembering.failure_blob(again, made[HASH].log) == b"the whole log"
    assert remembering.failure_blob(again, made[HASH].spec) == b"{}"
    # The same run told twice changes nothing; another failure keeps the first one's log.
    assert remembering.remember_failures(again, [record()], lambda h: b"x", lambda h: b"x", frozenset()) == made
    other = remembering.remember_failures(again, [record("b" * 32)], lambda h: b"other", lambda h: b"{}", frozenset())
    assert remembering.failure_blob(again, other[HASH].log) == b"the whole log"
    # What is over is forgotten, with its log.
    left = remembering.remember_failures(again, [], lambda h: None, lambda h: b"", frozenset({HASH}))
    assert set(left) == {"b" * 32}
    with pytest.raises(CacheError):
        remembering.failure_blob(repository(tmp_path), made[HASH].log)


def test_concretizations_are_remembered_the_newest_first(tmp_path: Path) -> None:
    held = repository(tmp_path)
    assert remembering.remembered_lock(held, "key") is None
    files = {"spack.yaml": b"spack: {}\n", "spack.lock": b"{}"}
    assert remembering.remember_locks(held, {"key": files})
    assert not remembering.remember_locks(held, {"key": files})
    assert remembering.remembered_lock(repository(tmp_path), "key") == files
    for at in range(remembering.LOCKS_KEPT):
        remembering.remember_locks(held, {f"other {at}": files})
    assert remembering.remembered_lock(held, "key") is None
    assert remembering.remembered_lock(held, "other 0") == files


def test_what_failed_is_not_planned_nor_what_needs_it() -> None:
    base, tool = make_node("base"), make_node("tool")
    middle = make_node("middle", dependencies=[base])
    top = make_node("top", dependencies=[middle])
    lone = make_node("lone", dependencies=[tool])
    nodes = {node["hash"]: node for node in (base, middle, top, tool, lone)}
    roots = [{"hash": node["hash"], "spec": node["name"]} for node in (top, lone)]
    lock = parse_lock({"concrete_specs": nodes, "roots": roots})
    told = planning.blocked(lock, {}, {middle["hash"]: "failed since yesterday", "z" * 32: "of no matter"})
    assert {lock.nodes[h].name: reason for h, reason in told.items()} == {
        "middle": "failed since yesterday", "top": f"{lock.nodes[middle['hash']].label}, which it needs, failed since yesterday",
    }  # fmt: skip
    # What only the failing ones need is not built for nothing.
    assert {lock.nodes[h].name for h in planning.needed(lock, {}, told)} == {"lone", "tool"}
    assert planning.blocked(lock, {middle["hash"]: "published"}, {middle["hash"]: "failed"}) == {}


HOSTILE = "x`]|<script>&\n::error::boom\x1b[31m ~~~~~ ``` @octocat #1"


def test_the_most_telling_come_first_and_no_more_than_github_shows() -> None:
    many = [failure(label=f"p{at:02}@1/aaaaaaa") for at in range(30)]
    outcomes = {str(at): Skipped(reason="a dependency failed", because_of="p07@1/aaaaaaa") for at in range(5)}
    told = failure_reports.most_telling(many, outcomes)
    assert len(told) == failure_reports.ANNOTATIONS
    assert told[0][0].startswith("p07")
    assert "5 specs" in told[0][1]
    assert told[-1][0] == "21 more failed"


def test_an_annotation_can_not_become_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    actions.annotate({"GITHUB_ACTIONS": "true"}, "error", [(HOSTILE, HOSTILE)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("::error title=")
    assert lines[0].count("::") >= 2
    assert "\x1b" not in lines[0]
    actions.annotate({}, "error", [("a", "b")])
    assert capsys.readouterr().out == ""


def test_an_issue_is_filled_in_and_fits_an_address() -> None:
    held = failure(
        error_lines=tuple(f"{HOSTILE} {at} ü" for at in range(400)), origin=Origin(spack_version="1.1.0", packages_commit="c" * 40)
    )
    url = failure_reports.issue_url(held)
    assert len(url) <= failure_reports.LONGEST_URL
    assert url.startswith(failure_reports.UPSTREAM + "?")
    (body,) = parse_qs(urlsplit(url).query)["body"]
    assert "c" * 40 in body
    assert body.count("~~~~~") == 2
    assert all(not line.startswith("::") for line in body.splitlines())


def test_a_summary_keeps_text_text() -> None:
    text = failure_reports.summary([failure(message=HOSTILE, label=HOSTILE, error_lines=(HOSTILE,))], {}, {})
    rows = [line for line in text.splitlines() if line.startswith("| x")]
    assert len(rows) == 1
    assert "<script>" not in text
    assert "@octocat" not in text.replace("%40octocat", "")
    assert failure_reports.summary([], {}, {}) == ""


def test_a_plan_with_nothing_but_failures_says_so() -> None:
    node = make_node("base")
    lock = parse_lock({"concrete_specs": {node["hash"]: node}, "roots": [{"hash": node["hash"], "spec": "base"}]})
    from cachelib.model.schedule import Costs, Limits

    made = planning.make_plan(
        lock, id="0123abcd", stack="s", image="v1.1", runner="r", present={}, seconds={}, limits=Limits(), costs=Costs(),
        failing={node["hash"]: "failed since yesterday"},
    )  # fmt: skip
    text = plan_report([made], Report(lines=()), "here").text
    assert "failing  base@" in text
    assert "1 failed lately" in text
    assert replace(made, id="89abcdef").part(1, 1) != made.part(1, 1)
    assert text.startswith("  failing")


@pytest.mark.parametrize(
    "changes",
    [
        {"message": 5}, {"phase": {}}, {"error_lines": [1, 2]}, {"log": None}, {"kind": "built", "seconds": "fast"}, {"kind": "built", "seconds": -1},
        {"kind": "skipped", "reason": "r", "because_of": [1]}, {"kind": "built", "seconds": 1.0, "phases": [{"name": 1, "seconds": 1}]},
    ],
)  # fmt: skip
def test_a_record_of_other_types_is_no_record(changes: dict[str, object]) -> None:
    data = record().json()
    outcome = changes if "kind" in changes else data["outcome"] | changes
    parse_record(record().json())
    with pytest.raises(CacheError):
        parse_record({**data, "outcome": outcome})


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "2999-01-01T00:00:00Z", "2026-99-99T99:99:99Z", "", "now"])
def test_a_time_that_none_is_counts_for_nothing(at: str) -> None:
    assert merge_failures({}, [record(at=at)], frozenset()) == {}

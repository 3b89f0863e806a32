"""What workers hand on is taken over as it was planned; what a hostile one hands on publishes nothing of itself, and stops nothing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, UsageError
from cachelib.model.outcome import BuildOutcome, Built, Failed, Reused, Skipped
from cachelib.model.record import Record
from cachelib.steps.building import parse_lock
from cachelib.steps.gathering import fate, lacking
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.parts import PartFolder, check_tree
from tests.support.mirrors import add_entry, make_node
from tests.support.planned import Run, hand_on_all, plan_run

Node = dict[str, Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return plan_run(tmp_path)


def test_what_was_planned_is_taken_over(run: Run) -> None:
    hand_on_all(run)
    report = run.gather()
    assert report.exit_code == 0, report.text
    assert run.names() == {"base", "middle", "top", "alone"}
    assert "build: 4 built; 4 new in the mirror" in report.text
    assert run.mirror().is_indexed()
    assert all(run.mirror().inspect_tarball(entry.tarball, again=True) for entry in run.mirror().entries())
    record = run.mirror().record(run.nodes["top"]["hash"])
    assert record is not None
    assert record.outcome == Built(seconds=3.0)
    # Once more changes nothing, and a part that was gathered may be gone.
    shutil.rmtree(run.part("alone"))
    again = run.gather()
    assert "0 new in the mirror" in again.text
    assert run.names() == {"base", "middle", "top", "alone"}


def test_what_did_not_come_is_told_and_costs_nothing_else(run: Run) -> None:
    """A runner died: what it would have built is skipped, and the next plan has it again."""
    run.hand_on("base")
    run.hand_on("alone")
    report = run.gather()
    assert report.exit_code == 5
    assert report.text.count("what another worker was to build was not handed on") == 2
    assert run.names() == {"base", "alone"}


def test_failures_come_with_their_logs(run: Run) -> None:
    run.hand_on("base", Failed(phase="build", message="boom", error_lines=("error: boom",), log="/etc/passwd"))
    run.hand_on("middle", Skipped(reason="a dependency failed", because_of="base@1.0"))
    run.hand_on("alone")
    report = run.gather()
    assert report.exit_code == 5
    record = run.mirror().record(run.nodes["base"]["hash"])
    assert record is not None
    assert isinstance(record.outcome, Failed)
    assert record.outcome.log == str(run.mirror().log_path(run.nodes["base"]["hash"]))
    assert gzip.decompress(Path(record.outcome.log).read_bytes()) == b"the log\n"
    assert "| error: boom" in report.text
    assert "/etc/passwd" not in report.text
    assert run.names() == {"alone"}


# --- Hostile parts -------------------------------------------------------------------------------------------------------------------------


def foreign(run: Run) -> None:
    add_entry(run.part("top"), [make_node("evil")], {"bin/evil": b"x"})


def anothers(run: Run) -> None:
    """The plan has a spec built, but elsewhere: who builds `top` has no say in what `alone` is."""
    add_entry(run.part("top"), [run.nodes["alone"]], {"bin/alone": b"evil"})
    shutil.rmtree(run.part("alone"))


def swapped_blob(run: Run) -> None:
    """A blob is other than its digest."""
    entry = next(DiskMirror(run.part("top")).entries())
    path = DiskMirror(run.part("top")).blob_path(entry.tarball.digest)
    path.write_bytes(path.read_bytes()[:-9] + b"evilevil!")


def no_tarball(run: Run) -> None:
    shutil.rmtree(run.part("top"))
    run.hand_on("top", tarball=b"this is no gzip at all")


def other_spec(run: Run) -> None:
    """Under the planned name lies another spec: its DAG hash isn't that of what it says."""
    shutil.rmtree(run.part("top"))
    node = {**run.nodes["top"], "version": "6.6.6"}
    add_entry(run.part("top"), [node, *run.dag("top")[1:]], {"bin/top": b"evil"})


def other_dependency(run: Run) -> None:
    shutil.rmtree(run.part("top"))
    top, middle, base, libc = run.dag("top")
    add_entry(run.part("top"), [top, {**middle, "version": "6.6.6"}, base, libc], {"bin/top": b"evil"})


def other_external(run: Run) -> None:
    """The hash of an external doesn't cover where it lies."""
    shutil.rmtree(run.part("top"))
    top, middle, base, libc = run.dag("top")
    add_entry(run.part("top"), [top, middle, base, {**libc, "external": {"path": "/evil", "module": None}}], {"bin/top": b"evil"})


def spliced(run: Run) -> None:
    """The hash of a spliced spec isn't that of its JSON, so that nothing could be held against it."""
    shutil.rmtree(run.part("top"))
    node = {**run.nodes["top"], "version": "6.6.6", "build_spec": {"name": "top", "hash": run.nodes["top"]["hash"]}}
    add_entry(run.part("top"), [node, *run.dag("top")[1:]], {"bin/top": b"evil"})


def link_to_a_file(run: Run) -> None:
    secret = run.folder / "secret"
    secret.write_text("secret")
    (run.part("top") / "v3/link").symlink_to(secret)


def link_to_a_folder(run: Run) -> None:
    (run.part("top") / "records/more").symlink_to("/etc")


def link_for_a_part(run: Run) -> None:
    """The part is a link to one that lies elsewhere."""
    run.part("top").rename(run.folder / "elsewhere")
    run.part("top").symlink_to(run.folder / "elsewhere")


def hard_link(run: Run) -> None:
    entry = next(DiskMirror(run.part("top")).entries())
    os.link(DiskMirror(run.part("top")).blob_path(entry.tarball.digest), run.folder / "shared")


def pipe(run: Run) -> None:
    os.mkfifo(run.part("top") / "v3/pipe")


def endless_spec(run: Run) -> None:
    """A spec file of a few bytes that inflates to more than anybody can hold."""
    shutil.rmtree(run.part("top"))
    path = add_entry(run.part("top"), run.dag("top"), {"bin/top": b"top"})
    data = json.loads(path.read_text())
    bomb = gzip.compress(b" " * (65 << 20), mtime=0)
    mirror = DiskMirror(run.part("top"))
    digest = Digest.of(bomb)
    mirror.blob_path(digest).parent.mkdir(parents=True, exist_ok=True)
    mirror.blob_path(digest).write_bytes(bomb)
    data["data"][1] |= {"contentLength": len(bomb), "checksum": digest.hex}
    path.write_text(json.dumps(data))


def no_manifest(run: Run) -> None:
    path = next((run.part("top") / "v3/manifests/spec").glob("*/*.json"))
    path.write_bytes(b"[" * 100_000)


HOSTILE: list[Callable[[Run], None]] = [
    swapped_blob, no_tarball, other_spec, other_dependency, other_external, spliced, link_to_a_file, link_to_a_folder, link_for_a_part,
    hard_link, pipe, endless_spec, no_manifest,
]  # fmt: skip


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack.__name__)
def test_a_hostile_part_publishes_nothing_of_itself(run: Run, attack: Callable[[Run], None]) -> None:
    hand_on_all(run)
    attack(run)
    report = run.gather()
    assert report.exit_code == 5, report.text
    assert run.names() == {"base", "middle", "alone"}
    assert run.mirror().is_indexed()
    assert b"evil" not in b"".join(path.read_bytes() for path in run.mirror().root.rglob("*") if path.is_file() and "blobs" in path.parts)
    assert not (run.mirror().root / "v3/link").exists()
    assert "Traceback" not in report.text


@pytest.mark.parametrize("attack", [foreign, anothers], ids=lambda attack: attack.__name__)
def test_what_nobody_was_to_build_there_is_refused(run: Run, attack: Callable[[Run], None]) -> None:
    hand_on_all(run)
    attack(run)
    report = run.gather()
    assert "the plan has nobody build it there" in report.text
    assert report.exit_code == 5
    assert run.names() == {"base", "middle", "top"} | ({"alone"} if attack is foreign else set())


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "a" * 32}, {"name": "other"}, {"version": "9"}, {"record": 99}, {"outcome": {"kind": "built"}}, {"outcome": "::warning::x"},
        {"environment": 5}, {"origin": {"stack": ["x"]}},
    ],
)  # fmt: skip
def test_a_record_of_something_else_is_no_record(run: Run, change: dict[str, Any]) -> None:
    hand_on_all(run)
    path = next((run.part("top") / "records/spec").glob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    report = run.gather()
    assert report.exit_code == 5
    assert run.mirror().record(run.nodes["top"]["hash"]) is None


def test_the_end_of_an_endless_log_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachelib.steps.gathering.LOG_LIMIT", 1000)
    run.hand_on("base", Failed(phase="build", message="boom"))
    DiskMirror(run.part("base")).log_path(run.nodes["base"]["hash"]).write_bytes(gzip.compress(b"a" * 5_000_000 + b"the end"))
    run.gather()
    log = gzip.decompress(run.mirror().log_path(run.nodes["base"]["hash"]).read_bytes())
    assert (len(log), log.endswith(b"the end")) == (1000, True)


# --- The folder of parts -------------------------------------------------------------------------------------------------------------------


def test_a_part_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    shared = PartFolder(tmp_path)
    with suppress(KeyboardInterrupt), shared.write("one") as part:
        add_entry(part.root, [make_node("zlib")])
        assert shared.find("one") is None
        raise KeyboardInterrupt
    assert shared.find("one") is None
    assert list(tmp_path.iterdir()) == []
    with shared.write("one") as part:
        add_entry(part.root, [make_node("zlib")])
    found = shared.find("one")
    assert found is not None
    assert len(found.names()) == 1


def test_more_than_a_part_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachelib.tools.parts.MOST_FILES", 3)
    for at in range(4):
        (tmp_path / str(at)).touch()
    with pytest.raises(FormatError, match="more than a part can hold"):
        check_tree(tmp_path)


# --- Plans that are none -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"meta": {"plan": "1.0"}, "stacks": []}', '{"meta": {"plan": "2.0"}, "stacks": [5]}']
)
def test_a_plan_that_is_none_says_what_to_do(run: Run, text: str) -> None:
    (run.folder / "var/plan/plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json can't be read") as caught:
        run.gather()
    assert "inv plan" in caught.value.hint


def test_a_lock_that_is_not_the_plans(run: Run) -> None:
    (run.folder / "var/plan/s-0123abcd/spack.lock").write_text('{"concrete_specs": {}, "roots": []}')
    with pytest.raises(FormatError, match="not the concretization of this plan"):
        run.gather()


def test_a_worker_that_the_plan_does_not_have(run: Run) -> None:
    for number in (0, -1, 99):
        with pytest.raises(UsageError, match=f"--worker is {number}"):
            pipeline.work(run.workspace, number)
    with pytest.raises(UsageError, match="no plans that build something for 'other'"):
        pipeline.work(run.workspace, 1, key="other")


# --- What a slot can't build ---------------------------------------------------------------------------------------------------------------


def test_what_lacks_something_is_skipped_with_all_that_needs_it(run: Run) -> None:
    lock = parse_lock(json.loads((run.folder / "var/plan/s-0123abcd/spack.lock").read_text()))
    base, middle, top, alone = (run.nodes[name]["hash"] for name in ("base", "middle", "top", "alone"))
    found = lacking((middle, top, alone), lock, {base: "a dependency failed"})
    label = lock.nodes[base].label
    assert found == {h: Skipped(reason="a dependency failed", because_of=label) for h in (middle, top)}
    assert lacking((middle, top), lock, {}) == {}


def test_the_fate_of_what_another_builds() -> None:
    def record(outcome: BuildOutcome) -> Record:
        return Record(name="a", version="1", hash="a" * 32, outcome=outcome)

    assert fate(None) == "what another worker was to build was not handed on"
    assert fate(record(Failed(phase="build", message="x"))) == "a dependency failed"
    assert fate(record(Skipped(reason="why"))) == "why"
    assert [fate(record(Built(seconds=1))), fate(record(Reused(source="mirror")))] == ["", ""]

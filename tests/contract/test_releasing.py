"""What the job that publishes does with whatever workers handed on: one thing that goes wrong costs nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.catalog import Catalog
from cachelib.model.container import Container
from cachelib.model.outcome import Built, Failed, Skipped
from cachelib.model.plan import StackPlan, parse_plan
from cachelib.model.record import Origin, Record
from cachelib.steps import artifacts, remembering
from cachelib.steps.gathering import broke_down, made_between
from cachelib.steps.targets import beyond
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from tests.support.planned import Run, hand_on_all, plan_run

SINCE = "2026-11-01T02:00:00Z"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = plan_run(tmp_path)
    path = tmp_path / "var/plan/plan.json"
    body = json.loads(path.read_text())
    body["meta"]["created"] = SINCE
    path.write_text(json.dumps(body))
    return made


def registry(run: Run) -> LayoutRepository:
    repository = run.workspace.repository(run.workspace.location("").child("v1.1"))
    assert isinstance(repository, LayoutRepository)
    return repository


def catalog(run: Run) -> Catalog:
    return artifacts.load_catalog(registry(run))


def planned(run: Run) -> StackPlan:
    (made,) = parse_plan(json.loads((run.folder / "var/plan/plan.json").read_text()))
    return made


def test_what_breaks_one_step_costs_no_other(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("base", "middle", "alone"):
        run.hand_on(name)
    run.hand_on("top", Failed(phase="build", message="boom"))

    def unforeseen(*_: Any) -> None:
        raise KeyError("a record that nobody thought of")

    monkeypatch.setattr(remembering, "remember_failures", unforeseen)
    report = pipeline.publish(run.workspace)
    assert "what was not foreseen: KeyError('a record that nobody thought of')" in report.text
    assert report.exit_code != 0
    assert {catalog(run).name(h) for h in catalog(run).entries} == {"base", "middle", "alone"}, "indexed all the same"
    monkeypatch.undo()
    assert pipeline.publish(run.workspace).exit_code == 0
    assert set(remembering.known_failures(registry(run))) == {run.nodes["top"]["hash"]}


def test_containers_and_bills_of_materials_follow(run: Run) -> None:
    """One whose packages failed is told, and costs nothing; one for which something else is in the way is a fault."""
    for name in ("base", "middle", "alone"):
        run.hand_on(name)
    run.hand_on("top", Failed(phase="build", message="boom"))
    containers = {name: Container(specs=(name,), base="none") for name in ("top", "alone")}
    ws = replace(
        run.workspace,
        settings=replace(run.workspace.settings, containers=containers, sbom=True, tags={"newest": "alone", "gone": "nosuch"}),
    )
    report = pipeline.publish(ws)
    assert "no build for Linux that is published matches 'top'" in report.text
    assert "sbom: 3 attached" in report.text
    assert "newest names alone@" in report.text
    assert "no build for Linux that is published matches 'nosuch'" in report.text
    assert report.exit_code == 0, report.text
    assert {"alone", *(f"sha256-{entry.manifest.digest.hex}" for entry in catalog(run).entries.values())} <= registry(run).tags()
    wrong = {"alone": Container(specs=("alone",), base="oci-layout:nowhere:1")}
    assert pipeline.publish(replace(ws, settings=replace(ws.settings, containers=wrong))).exit_code != 0


def test_a_full_disk_is_told_and_the_rest_published(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_on_all(run)
    write = DiskMirror.write_record

    def full(self: DiskMirror, record: Record, log: bytes | None) -> None:
        if record.name == "alone" and self.root == run.mirror().root:
            raise OSError(28, "No space left on device")
        write(self, record, log)

    monkeypatch.setattr(DiskMirror, "write_record", full)
    report = pipeline.publish(run.workspace)
    assert "REFUSED" in report.text
    assert "No space left on device" in report.text
    assert {catalog(run).name(h) for h in catalog(run).entries} >= {"base", "middle", "top"}


@pytest.mark.parametrize("told", ["2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "", "soon", "9"])
def test_the_time_of_a_build_lies_within_its_run(run: Run, told: str) -> None:
    """Else a build could have itself kept for ever, or never be tried again."""
    for name, outcome in (("base", Built(seconds=3.0)), ("alone", Failed(phase="build", message="boom"))):
        node = run.nodes[name]
        part = DiskMirror(run.hand_on(name, outcome))
        record = Record(name=name, version=node["version"], hash=node["hash"], outcome=outcome, origin=Origin(created=told))
        part.write_record(record, None)
    pipeline.publish(run.workspace)
    base = run.mirror().record(run.nodes["base"]["hash"])
    assert base is not None
    assert base.origin.created == SINCE
    assert catalog(run).entries[base.hash].annotations["org.opencontainers.image.created"] == SINCE
    assert remembering.known_failures(registry(run))[run.nodes["alone"]["hash"]].last == SINCE


def test_a_time_within_the_run_is_kept() -> None:
    record = Record(name="x", version="1", hash="a" * 32, outcome=Built(seconds=1.0), origin=Origin(created="2026-11-01T03:00:00Z"))
    assert made_between(record, SINCE, "2026-11-01T04:00:00Z") == record
    assert made_between(record, SINCE, "2026-11-01T02:59:59Z").origin.created == SINCE


def test_what_was_built_when_a_job_broke_down_has_failed(run: Run) -> None:
    """Or it would be the first to be built of the next run too, and break that down."""
    made = planned(run)
    one, two = made.job(1), made.job(2)
    base, middle, top, alone = (run.nodes[name]["hash"] for name in ("base", "middle", "top", "alone"))
    assert set(broke_down(made, set(), {one, two})) == {base, alone}
    assert set(broke_down(made, {made.part_of(base)}, {one})) == {middle}
    assert broke_down(made, set(made.parts()), {one, two}) == {}
    assert broke_down(made, set(), {"build (another)"}) == {}
    assert set(broke_down(made, {made.part_of(alone)}, {two})) == {top}


def test_what_failed_again_does_not_have_the_run_go_on(run: Run) -> None:
    """What needs a failure is no work that is left; what was not tried for another reason is."""
    run.hand_on("base")
    run.hand_on("alone")
    run.hand_on("middle", Failed(phase="build", message="boom"))
    run.hand_on("top", Skipped(reason="a dependency failed", because_of="middle"))
    ws = replace(run.workspace, env={"GITHUB_OUTPUT": str(run.folder / "output")})
    pipeline.publish(ws)
    assert "again" in (run.folder / "output").read_text()
    assert _again(run) == "false"


@pytest.mark.parametrize(("inputs", "again"), [("{}", "true"), ('{"random": 25}', "false"), ('{"specs": "top", "rebuild": true}', "false")])
def test_what_was_not_tried_has_the_run_go_on(run: Run, inputs: str, again: str) -> None:
    """But where the same once more would do something else, or all of it again, run would follow run without end."""
    run.hand_on("base")
    run.hand_on("alone")
    run.hand_on("middle", Skipped(reason="the time of the job was over"))
    ws = replace(run.workspace, env={"GITHUB_OUTPUT": str(run.folder / "output"), "WORKFLOW_INPUTS": inputs})
    pipeline.publish(ws)
    assert _again(run) == again


def test_what_no_cpu_of_the_run_could_build_does_not_have_it_go_on(run: Run) -> None:
    """Runners differ, but not so that run after run should try its luck: the next plan has it again."""
    run.hand_on("base")
    run.hand_on("alone")
    reason = beyond("haswell", "x86_64_v4")
    run.hand_on("middle", Skipped(reason=reason))
    run.hand_on("top", Skipped(reason=reason, because_of="middle"))
    pipeline.publish(replace(run.workspace, env={"GITHUB_OUTPUT": str(run.folder / "output")}))
    assert _again(run) == "false"
    assert remembering.known_failures(registry(run)) == {}


def test_stacks_for_which_a_run_had_no_jobs_have_it_go_on(run: Run) -> None:
    hand_on_all(run)
    path = run.folder / "var/plan/plan.json"
    body = json.loads(path.read_text())
    for left, again in (([], "false"), (["other-01234567"], "true")):
        path.write_text(json.dumps(body | {"meta": body["meta"] | {"left": left}}))
        shutil.rmtree(run.folder / "r", ignore_errors=True)
        (run.folder / "output").unlink(missing_ok=True)
        pipeline.publish(replace(run.workspace, env={"GITHUB_OUTPUT": str(run.folder / "output")}))
        assert _again(run) == again


def _again(run: Run) -> str:
    lines = (run.folder / "output").read_text().splitlines()
    return next(lines[at + 1] for at, line in enumerate(lines) if line.startswith("again<<"))

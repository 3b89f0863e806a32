"""A plan over real Spack: everything before the first build, nothing after it, and what a run on GitHub is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.errors import BuildError
from cachelib.model.schedule import parse_schedule
from cachelib.steps.building import parse_lock
from tests.support.certificates import Certificates


def test_before_the_first_build(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    env = {**workspace.env, "GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    ws = replace(workspace, env=env, var=tmp_path / "var")
    report = pipeline.plan(ws, to=f"oci-layout:{tmp_path / 'registry'}", out=str(tmp_path / "plan"))
    assert report.exit_code == 0, report.text
    body = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))
    (stack,) = body["stacks"]
    lock = parse_lock(json.loads((tmp_path / f"plan/{stack['stack']}-{stack['id']}/spack.lock").read_text(encoding="utf-8")))
    built = {item["hash"] for item in stack["items"] if item["action"] == "build"}
    assert built == {node.hash for node in lock.buildable()}
    assert set(parse_schedule(stack["schedule"]).place()) == built
    assert (tmp_path / f"plan/{stack['stack']}-{stack['id']}/spack.yaml").is_file()
    output = (tmp_path / "output").read_text(encoding="utf-8").splitlines()
    assert json.loads(output[1]) == {"include": body["matrix"]}
    assert {job["plan"] for job in body["matrix"]} == {f"{stack['stack']}-{stack['id']}"}
    assert "section Worker 1" in (tmp_path / "summary").read_text(encoding="utf-8")
    assert not (tmp_path / "registry").exists()


def test_a_bad_request_is_told_and_costs_no_other(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    ws = replace(workspace, var=tmp_path / "var")
    asked = ["sundial", "$(touch hacked)", "nosuchpackage"]
    report = pipeline.plan(ws, asked, to=f"oci-layout:{tmp_path / 'registry'}", out=str(tmp_path / "plan"))
    assert report.exit_code == 5
    assert report.text.count("REJECTED") == 2
    (stack,) = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))["stacks"]
    assert any(item["reason"].startswith("requested as 'sundial'") for item in stack["items"])
    assert not list(Path.cwd().glob("hacked"))


def test_a_compiler_that_is_not_here_is_told_at_once(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    """Spack would search for hours for a way to build it with itself."""
    stack = replace(workspace.settings.stacks["examples"], compilers=("gcc@99", "llvm@98"))
    ws = replace(workspace, var=tmp_path / "var", settings=replace(workspace.settings, stacks={"examples": stack}))
    with pytest.raises(BuildError, match=r"takes gcc@99 or llvm@98, and Spack finds .*gcc@\d") as caught:
        pipeline.plan(ws, to=f"oci-layout:{tmp_path / 'registry'}", out=str(tmp_path / "plan"))
    assert "apt install" in caught.value.hint
    either = replace(stack, compilers=("gcc@99", "gcc"))
    ws = replace(ws, settings=replace(ws.settings, stacks={"examples": either}))
    report = pipeline.plan(ws, ["moonphase"], to=f"oci-layout:{tmp_path / 'registry'}", out=str(tmp_path / "plan"))
    assert report.exit_code == 0, report.text


def test_after_everything_is_published(
    workspace: pipeline.Workspace, published: str, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is planned again; of all else nothing is left to do, and nothing is concretized for it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    # Without the local mirror: what is published is known by the registry alone.
    ws = replace(workspace, var=tmp_path / "var")
    to = published.rpartition("/")[0]
    report = pipeline.plan(ws, to=to, out=str(tmp_path / "plan"))
    body = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))
    (stack,) = body["stacks"]
    left = [item["label"].partition("@")[0] for item in stack["items"] if item["action"] == "build"]
    assert left == ["broken-clock"], report.text
    assert len(body["matrix"]) == 1
    again = pipeline.plan(ws, ["sundial"], to=to, out=str(tmp_path / "plan"), rebuild=True)
    assert "1 to build" in again.text

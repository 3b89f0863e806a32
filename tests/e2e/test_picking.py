"""Packages picked by chance from Spack's own repository, as its recipes really are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.inputs import RunInputs
from cachelib.model.licenses import Licenses
from cachelib.pipeline import planning
from cachelib.pipeline.installing import prepare_spack
from cachelib.pipeline.picking import pick_packages
from cachelib.pipeline.workspace import PROJECT
from cachelib.steps.picking import pick
from cachelib.steps.reports import Report
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Spack
from tests.e2e.conftest import Client
from tests.support.mirrors import add_entry, make_node

PROBE = PROJECT / "cachelib/tools/spack_probe.py"
#: Packages of which each can't be built and published, and what has to be told of it.
UNFIT = {
    "cellranger": "its source has to be downloaded by hand",
    "nvhpc": "its licence lets nobody redistribute binaries",
    "totalview": "it takes a licence to use",
    "mpi": "it is virtual, and others provide it",
    "apple-gl": "it is not for linux on aarch64: Apple-GL is only available on Darwin",
    "amdblis": "it is not for linux on aarch64: AMD blis available only on x86_64",
    "gcc-runtime": "it comes with a compiler, and nobody asks for it",
    "python": "it is taken from this machine, and not built",
}
#: Packages that can: of the stack itself, with its sources in files, and such as conflict with another package alone.
FIT = ("sundial", "zlib", "memkind", "kentutils")


def test_the_same_seed_picks_the_same(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    ws = replace(workspace, var=tmp_path / "var")
    repository = ws.repository(ws.location(f"oci-layout:{tmp_path / 'registry'}").child("v1.1"))
    asked = RunInputs(random=2, seed="a seed")
    names, report = pick_packages(ws, repository, asked, "")
    assert len(set(names)) == 2
    assert pick_packages(ws, repository, asked, "")[0] == names
    assert pick_packages(ws, repository, replace(asked, seed="another"), "")[0] != names
    assert "--seed a seed" in report.text
    assert int(report.lines[-1].partition(" of ")[2].split()[0]) > 8000
    assert not (tmp_path / "registry").exists()


def remembered(report: Report, folder: Path) -> int:
    """How many concretizations a plan has the registry remember."""
    assert report.exit_code == 0, report.text
    return len(json.loads((folder / "plan/plan.json").read_text(encoding="utf-8"))["meta"]["remember"])


def test_a_pick_that_spack_refuses_fails_nothing(workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for it: it is told, the other picks are planned, and the run goes on. A person's own request fails."""
    picks = ("sundial", "nosuchpackage")
    monkeypatch.setattr(planning, "pick_packages", lambda *_, **__: (picks, Report(lines=("picked",))))
    ws = replace(workspace, var=tmp_path / "var")
    to, out = f"oci-layout:{tmp_path / 'registry'}", str(tmp_path / "plan")
    report = pipeline.plan(ws, random=2, to=to, out=out)
    assert report.exit_code == 0, report.text
    assert report.text.count("REJECTED") == 1
    assert report.lines[0] == "picked"
    (stack,) = json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))["stacks"]
    assert list(stack["roots"].values()) == ["sundial"]
    assert pipeline.plan(ws, picks, to=to, out=out).exit_code == 5
    # The registry remembers few concretizations: those that come again, and a pick doesn't.
    monkeypatch.setattr(planning, "pick_packages", lambda *_, **__: (("sundial",), Report(lines=())))
    hosted = replace(ws, env={**ws.env, "ImageOS": "ubuntu24", "ImageVersion": "1"})
    assert remembered(pipeline.plan(hosted, random=1, to=to, out=out), tmp_path) == 0
    assert remembered(pipeline.plan(hosted, ["sundial"], to=to, out=out), tmp_path) == 1
    # Where nothing can be picked, nothing is built: not what the stack lists either.
    monkeypatch.setattr(planning, "pick_packages", lambda *_, **__: ((), Report(lines=("none",))))
    assert pipeline.plan(ws, random=2, to=to, out=out).text.splitlines()[0] == "none"
    assert json.loads((tmp_path / "plan/plan.json").read_text(encoding="utf-8"))["matrix"] == []


def test_what_can_not_be_built_is_told_why(client: Client, tmp_path: Path) -> None:
    """By every Spack, for a machine of another family: it is the target of the stack that counts."""
    asked, told = tmp_path / "asked.json", tmp_path / "told.json"
    asked.write_text(json.dumps({"names": [*UNFIT, *FIT, "nosuchpackage"], "targets": ["aarch64"]}), encoding="utf-8")
    client.run("python", str(PROBE), "facts", str(asked), str(told))
    found = json.loads(told.read_text(encoding="utf-8"))
    assert {name: found[name]["reason"] for name in UNFIT} == UNFIT
    assert {name: found[name]["reason"] for name in FIT} == dict.fromkeys(FIT, "")
    assert found["zlib"]["licenses"] == ["Zlib"]
    assert "nosuchpackage" in found["nosuchpackage"]["reason"]
    client.run("python", str(PROBE), "names", str(told))
    names = json.loads(told.read_text(encoding="utf-8"))
    assert {*UNFIT, *FIT} <= set(names)
    assert len(names) > 8000


def test_a_restricted_package_is_passed_over_with_its_reason(workspace: pipeline.Workspace, tmp_path: Path) -> None:
    """In the plan's own way: of these names alone, one can be built."""
    spack, _ = prepare_spack(workspace, workspace.settings.stacks["examples"], "examples", "")
    found = pick(
        ["nvhpc", "cellranger", "zlib"], 2, "seed", cached=frozenset(), failing={},
        facts=lambda names: {name: reason for name, (reason, _) in spack.facts(names, ("x86_64_v3",)).items()},
    )  # fmt: skip
    assert found.names == ("zlib",)
    assert {(passed.name, passed.reason) for passed in found.passed} == {(name, UNFIT[name]) for name in ("nvhpc", "cellranger")}


def test_licences_that_are_not_published_are_not_picked(
    workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to be left out by the plan: the pick has another package in its place."""
    stack = replace(workspace.settings.stacks["examples"], licenses=Licenses(deny=("GPL-3.0-or-later",)))
    ws = replace(workspace, var=tmp_path / "var", settings=replace(workspace.settings, stacks={"examples": stack}))
    monkeypatch.setattr(Spack, "names", lambda _: ["diffutils", "zlib", "bzip2"])
    repository = ws.repository(ws.location(f"oci-layout:{tmp_path / 'registry'}").child("v1.1"))
    names, report = pick_packages(ws, repository, RunInputs(random=2, seed="s"), "")
    assert set(names) == {"zlib", "bzip2"}
    open_to_all, _ = pick_packages(workspace, repository, RunInputs(random=3, seed="s"), "")
    assert set(open_to_all) == {"diffutils", "zlib", "bzip2"}
    assert "diffutils" not in names
    assert not report.exit_code


def test_what_an_upstream_has_is_not_picked(workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the plan itself: of two packages chance takes the one that no upstream has a build of, and both when both are asked for."""
    monkeypatch.setattr(Spack, "names", lambda _: ["moonphase", "almanac-data"])
    to = f"oci-layout:{tmp_path / 'registry'}"
    ws = replace(workspace, var=tmp_path / "var")

    def picked(ws: pipeline.Workspace, count: int) -> list[str]:
        report = pipeline.plan(ws, random=count, seed="s", to=to, out=str(tmp_path / "plan"))
        assert report.exit_code == 0, report.text
        return [line.split()[1] for line in report.lines if line.startswith("  picked ")]

    first, second = picked(ws, 2)
    add_entry(tmp_path / "up", [make_node(first)])
    DiskMirror(tmp_path / "up").write_index()
    stack = replace(ws.settings.stacks["examples"], upstreams=(f"file://{tmp_path / 'up'}",))
    layered = replace(ws, settings=replace(ws.settings, stacks={"examples": stack}))
    assert picked(ws, 1) == [first]
    assert picked(layered, 1) == [second]
    assert picked(layered, 2) == [second, first]

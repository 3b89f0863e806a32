"""What one can ask `inv why` about, and what it says where that is nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.errors import CatalogError, FormatError, UsageError
from tests.support.caches import LOCK

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ws(tmp_path: Path) -> pipeline.Workspace:
    """The mirror that ships, pushed and indexed; no Spack is on the PATH."""
    settings = yaml.safe_load((PROJECT / "examples/cache.yaml").read_text(encoding="utf-8"))
    settings["stacks"]["examples"]["repos"] = []
    (tmp_path / "cache.yaml").write_text(yaml.safe_dump(settings | {"registry": "oci-layout:registry"}))
    shutil.copytree(PROJECT / "examples/mirror", tmp_path / "var/mirror/v1.1")
    found = pipeline.open_workspace(str(tmp_path / "cache.yaml"))
    pipeline.push(found)
    pipeline.index(found)
    return found


def held(ws: pipeline.Workspace, name: str) -> dict[str, object]:
    """A spec file of the mirror."""
    (entry,) = [entry for entry in ws.mirror("v1.1").entries() if entry.spec.root.name == name]
    return {"spec": {"_meta": {"version": 5}, "nodes": [node.raw for node in entry.spec.nodes.values()]}}


def test_a_spec_file_that_is_there_and_one_that_is_not(ws: pipeline.Workspace, tmp_path: Path) -> None:
    name = ws.mirror("v1.1").entry(ws.mirror("v1.1").names()[0]).spec.root.name
    spec = held(ws, name)
    path = tmp_path / "a.spec.json"
    path.write_text(json.dumps(spec))
    assert f"why: {name}@" in pipeline.why(ws, str(path)).text
    assert "is in oci-layout" in pipeline.why(ws, str(path)).text
    spec["spec"]["nodes"][0] |= {"version": "0.0.1", "hash": "a" * 32}  # type: ignore[index]
    path.write_text(json.dumps(spec))
    report = pipeline.why(ws, str(path))
    assert "version: 0.0.1 is asked for" in report.text
    assert report.data[0]["near"][0]["differences"][0]["field"] == "version"


def test_a_lock_file_and_the_folder_of_an_environment(ws: pipeline.Workspace) -> None:
    lines = pipeline.why(ws, str(LOCK)).lines
    roots = len(json.loads(LOCK.read_text(encoding="utf-8"))["roots"])
    assert lines[-1].startswith(f"why: 0 of {roots} specs are in ")
    assert pipeline.why(ws, str(LOCK.parent)).lines == lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "holds no concrete spec"),
        ("[]", "holds no concrete spec"),
        ('{"spec": {"_meta": {"version": 9}}}', "format 9"),
        ('{"concrete_specs": 3}', "not understood"),
    ],
)
def test_a_file_that_holds_none_is_told(ws: pipeline.Workspace, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=reason) as caught:
        pipeline.why(ws, str(path))
    assert str(path) in caught.value.message


def test_what_can_not_be_asked_is_told(ws: pipeline.Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json can't be read"):
        pipeline.why(ws, str(tmp_path / "nowhere.json"))
    with pytest.raises(UsageError, match="is no spec"):
        pipeline.why(ws, "--help")
    with pytest.raises(UsageError, match="there is no image 'v9'"):
        pipeline.why(ws, "zlib", image="v9")
    with pytest.raises(UsageError, match="holds no Spack") as caught:
        pipeline.why(ws, "zlib", spack_root=str(tmp_path))
    assert "spack spec --json 'zlib' > spec.json" in caught.value.hint


def fake_spack(folder: Path, said: str, code: int = 0) -> str:
    """A Spack that says something, whatever it is asked; gives its root."""
    (folder / "spack/bin").mkdir(parents=True)
    (folder / "said.txt").write_text(said, encoding="utf-8")
    program = folder / "spack/bin/spack"
    program.write_text(f"#!/bin/sh\ncat '{folder}/said.txt'\nexit {code}\n")
    program.chmod(0o755)
    return str(folder / "spack")


def test_what_spack_prints_is_one_very_long_line(ws: pipeline.Workspace, tmp_path: Path) -> None:
    """The spec of a package of 60 dependencies has more than the 64 KiB in which lines come, and there are words around it."""
    spec = json.loads(json.dumps(held(ws, "py-almanac")))
    spec["spec"]["nodes"][0] |= {"version": "0.0.1", "hash": "a" * 32}
    spec["spec"]["nodes"][-1]["annotations"]["long"] = "x y " * 100_000
    line = json.dumps(spec, separators=(",", ":"))
    root = fake_spack(tmp_path, f"==> Warning: one thing\n{line}\n==> Warning: another\n")
    report = pipeline.why(ws, "py-almanac@0.0.1 ^python " + "+variant " * 100, spack_root=root)
    assert "version: 0.0.1 is asked for" in report.text


def test_several_specs_in_one_question(ws: pipeline.Workspace, tmp_path: Path) -> None:
    both = [json.dumps(held(ws, name), separators=(",", ":")) for name in ("py-almanac", "almanac-data")]
    report = pipeline.why(ws, "py-almanac almanac-data", spack_root=fake_spack(tmp_path, "\n".join(both)))
    assert report.lines == (f"why: 2 of 2 specs are in oci-layout:{ws.folder / 'registry/v1.1'}",)


@pytest.mark.parametrize("said", ["", "nothing", "{", "[]", '{"spec": 7}', '{"spec": {"nodes": 3}}', "{" * 90_000])
def test_a_spack_that_prints_something_else(ws: pipeline.Workspace, tmp_path: Path, said: str) -> None:
    with pytest.raises(FormatError):
        pipeline.why(ws, "zlib", spack_root=fake_spack(tmp_path, said))


@pytest.mark.parametrize("text", ["x" * 300, "hdf5 " + "+some_variant" * 400, "~mpi", "zlib\0", "~nobody_has_this_name/x"])
def test_what_no_file_can_be_called_is_a_spec(ws: pipeline.Workspace, text: str) -> None:
    with pytest.raises(UsageError, match="no Spack is here that could make it concrete"):
        pipeline.why(replace(ws, env={"PATH": ""}), text)


def test_a_folder_that_is_called_as_a_package_is_none_that_was_meant(
    ws: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zlib").mkdir()
    with pytest.raises(UsageError, match="no Spack is here that could make it concrete"):
        pipeline.why(replace(ws, env={"PATH": ""}), "zlib")
    with pytest.raises(UsageError, match=r"zlib/spack\.lock can't be read"):
        pipeline.why(ws, "./zlib")
    (tmp_path / "zlib/spack.yaml").touch()
    with pytest.raises(UsageError, match=r"zlib/spack\.lock can't be read"):
        pipeline.why(ws, "zlib")


def test_an_external_is_taken_from_the_machine(ws: pipeline.Workspace, tmp_path: Path) -> None:
    spec = held(ws, "py-almanac")
    nodes = spec["spec"]["nodes"]  # type: ignore[index]
    spec["spec"]["nodes"] = [node for node in nodes if node["name"] == "python"]  # type: ignore[index]
    (tmp_path / "python.json").write_text(json.dumps(spec))
    with pytest.raises(UsageError, match=r"python@3\.11\.2/\w+ is an external of your machine") as caught:
        pipeline.why(ws, str(tmp_path / "python.json"))
    assert "nothing to fetch" in caught.value.hint


def test_a_lock_file_that_names_what_it_lacks(ws: pipeline.Workspace, tmp_path: Path) -> None:
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    gone = next(edge["hash"] for node in lock["concrete_specs"].values() for edge in node.get("dependencies", ()))
    del lock["concrete_specs"][gone]
    lock["roots"] = [root for root in lock["roots"] if root["hash"] != gone]
    (tmp_path / "my.lock").write_text(json.dumps(lock))
    with pytest.raises(UsageError, match="which is not among the specs"):
        pipeline.why(ws, str(tmp_path / "my.lock"))
    with pytest.raises(UsageError, match="which is not among the specs"):
        pipeline.weather(ws, lock=str(tmp_path / "my.lock"))


def test_of_many_that_are_missing_the_first_are_told(ws: pipeline.Workspace) -> None:
    report = pipeline.why(ws, str(LOCK))
    roots = len(json.loads(LOCK.read_text(encoding="utf-8"))["roots"])
    assert report.lines[-2] == f"  ... and {roots - 40} more, which --json FILE tells of"
    assert len(report.data) == roots


def test_an_image_that_is_not_filled_yet_is_no_trouble(ws: pipeline.Workspace, tmp_path: Path) -> None:
    """One image answers, the other is named; only where nothing is anywhere has the question no answer."""
    stack = next(iter(ws.settings.stacks.values()))
    both = replace(ws, settings=replace(ws.settings, stacks={**ws.settings.stacks, "other": replace(stack, image="v9.9")}))
    path = tmp_path / "a.spec.json"
    path.write_text(json.dumps(held(ws, "py-almanac")))
    report = pipeline.why(both, str(path))
    assert report.exit_code == 0
    assert report.lines[-1] == f"why: nothing is indexed in oci-layout:{ws.folder / 'registry/v9.9'}"
    with pytest.raises(CatalogError, match="nothing is indexed"):
        pipeline.why(both, str(path), image="v9.9")

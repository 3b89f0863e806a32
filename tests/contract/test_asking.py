"""What one can ask `inv why` about, and what it says where that is nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.errors import UsageError
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

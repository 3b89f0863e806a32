"""What stacks want is remembered beside the catalog, and told of: from a build to the page."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.errors import UsageError
from cachelib.model.outcome import Rejected
from cachelib.model.plan import PLAN_VERSION, StackPlan
from cachelib.model.schedule import Schedule
from cachelib.model.wanted import Wanted, WantedSpec
from cachelib.pipeline import building, planning
from cachelib.pipeline.locks import Concretized
from cachelib.pipeline.plans import write_plan
from cachelib.pipeline.preparing import Ready
from cachelib.steps import remembering
from cachelib.tools.layout import LayoutRepository
from tests.support.caches import LOCK

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ws(tmp_path: Path) -> pipeline.Workspace:
    """The mirror that ships, not yet pushed."""
    settings = yaml.safe_load((PROJECT / "examples/cache.yaml").read_text(encoding="utf-8"))
    settings["stacks"]["examples"]["repos"] = []
    (tmp_path / "cache.yaml").write_text(yaml.safe_dump(settings | {"registry": "oci-layout:registry"}))
    shutil.copytree(PROJECT / "examples/mirror", tmp_path / "var/mirror/v1.1")
    return pipeline.open_workspace(str(tmp_path / "cache.yaml"))


def registry(ws: pipeline.Workspace) -> LayoutRepository:
    found = ws.repository(ws.location("").child("v1.1"))
    assert isinstance(found, LayoutRepository)
    return found


def wants(ws: pipeline.Workspace, *more: str, stack: str = "examples", runner: str = "linux debian12") -> Wanted:
    """Everything of the mirror, and other names besides."""
    held = [WantedSpec(hash=name.hash, name=name.name, version="1", target="x86_64_v2") for name in ws.mirror("v1.1").names()]
    specs = {one.hash: one for one in (*held, *(WantedSpec(hash=name * 32, name=name, version="1", target="t") for name in more))}
    return Wanted(stack=stack, runner=runner, specs=specs, roots={h: one.name for h, one in specs.items()})


def test_from_a_build_to_the_page(ws: pipeline.Workspace) -> None:
    asked = wants(ws, "m")
    ws.mirror("v1.1").write_wanted(asked)
    assert pipeline.push(ws).exit_code == 0
    pipeline.index(ws)
    assert remembering.known_wanted(registry(ws)) == (asked,)
    there = len(asked.specs) - 1
    report = pipeline.weather(ws)
    assert f"stack examples on linux debian12: of {there + 1} requests {there} ready, 1 missing" in report.text
    assert report.data[0]["counts"] == {"ready": there, "missing": 1}
    pipeline.render(ws)
    assert f"{there} of the {there + 1} specs" in (ws.var / "site/weather/index.html").read_text(encoding="utf-8")
    (line,) = json.loads((ws.var / "site/api/v1/weather.json").read_text(encoding="utf-8"))["stacks"]
    assert (line["stack"], line["present"], line["total"]) == ("examples", there, there + 1)
    # Neither what is damaged nor a stack that is no more is in the way of anything.
    (ws.var / "mirror/v1.1/records/wanted/other.json").write_text("[1, 2")
    ws.mirror("v1.1").write_wanted(wants(ws, stack="given up"))
    pipeline.push(ws)
    assert len(remembering.known_wanted(registry(ws))) == 2
    pipeline.render(ws)
    assert "given up" not in (ws.var / "site/weather/index.html").read_text(encoding="utf-8")


def test_what_a_run_wants_takes_the_place_of_what_machines_told(ws: pipeline.Workspace) -> None:
    ws.mirror("v1.1").write_wanted(wants(ws, "m"))
    pipeline.push(ws)
    pipeline.index(ws)
    asked = wants(ws, runner="ubuntu-24.04")
    made = StackPlan(
        id="0" * 8,
        stack="examples",
        image="v1.1",
        runner="ubuntu-24.04",
        items=(),
        needs={},
        schedule=Schedule(workers=(), seconds=0),
        bound=0,
    )
    digest = write_plan(ws.var / "plan", {"plan": PLAN_VERSION}, [made], {f"{made.key}/wanted.json": json.dumps(asked.json()).encode()})
    report = pipeline.publish(ws, digest=digest)
    assert report.exit_code == 0, report.text
    assert "what stack examples wants is remembered" in report.text
    assert [line for line in pipeline.weather(ws).lines if line.startswith("stack")] == [
        f"stack examples on ubuntu-24.04: of {len(asked.roots)} requests {len(asked.roots)} ready"
    ]
    assert "is remembered" not in pipeline.publish(ws, digest=digest).text


def test_the_memory_is_written_anew_only_for_news(tmp_path: Path, ws: pipeline.Workspace) -> None:
    held, one, other = registry(ws), wants(ws), wants(ws, "m")
    assert remembering.remember_wanted(held, [one])
    assert not remembering.remember_wanted(held, [one])
    assert not remembering.remember_wanted(held, [])
    assert remembering.remember_wanted(held, [other])
    assert remembering.known_wanted(held) == (other,)
    assert remembering.remember_wanted(held, [replace(one, runner=f"runner {at}") for at in range(100)])
    assert len(remembering.known_wanted(held)) == remembering.WANTED_KEPT
    assert remembering.known_wanted(held, "examples", "runner 99") == (replace(one, runner="runner 99"),)
    assert remembering.known_wanted(held, "another") == ()


def test_a_lock_file_takes_no_spack(ws: pipeline.Workspace, tmp_path: Path) -> None:
    pipeline.push(ws)
    pipeline.index(ws)
    roots = len(json.loads(LOCK.read_text(encoding="utf-8"))["roots"])
    report = pipeline.weather(ws, lock=str(LOCK))
    assert f"what is asked for: of {roots} requests {roots} missing" in report.text
    assert pipeline.weather(ws, lock=str(LOCK.parent)).text == report.text, "the folder of an environment will do"
    assert "stack examples has not told yet what it wants" in pipeline.weather(ws).text
    assert "nothing is indexed" not in report.text
    elsewhere = pipeline.weather(ws, lock=str(LOCK), to=f"oci-layout:{tmp_path / 'nowhere'}")
    assert elsewhere.lines[0] == f"nothing is indexed in oci-layout:{tmp_path / 'nowhere/v1.1'}: is it the right place?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "can't be read"), ("{", "is no lock file"), ("[]", "is no lock file"), ('{"concrete_specs": 3}', "is no lock file")],
)
def test_what_is_no_lock_file_is_told(ws: pipeline.Workspace, tmp_path: Path, text: str | None, reason: str) -> None:
    pipeline.push(ws)
    pipeline.index(ws)
    path = tmp_path / "my.lock"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=reason) as caught:
        pipeline.weather(ws, lock=str(path))
    assert str(path) in caught.value.message
    assert "spack concretize" in caught.value.hint
    with pytest.raises(UsageError, match="--lock and --spec together"):
        pipeline.weather(ws, ["zlib"], lock=str(path))


BAD = (Rejected(request="zlib@99", reason="no such version", hint=""), Rejected(request="nosuch", reason="no such package", hint=""))


def all_refused(ws: pipeline.Workspace) -> None:
    """The weather of a stack all of whose requests Spack refuses."""
    (line, *rest) = [line for line in pipeline.weather(ws).lines if not line.startswith("weather")]
    assert line == "stack examples on linux debian12: of 2 requests 2 refused"
    assert [" ".join(line.split()) for line in rest] == ["refused nosuch: no such package", "refused zlib@99: no such version"]


def test_a_stack_all_of_which_is_refused_has_another_weather_after_a_build(ws: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = ws.mirror("v1.1")
    mirror.write_wanted(wants(ws))
    name, stack = ws.stack("")
    nothing: Any = None  # no Spack is asked where there is no lock
    refused = Ready(
        name=name, stack=stack, spack=nothing, mirror=mirror, location=ws.location(""), env=Path(), lock=None, rejected=BAD
    )  # fmt: skip
    monkeypatch.setattr(building, "prepare", lambda *_: refused)
    building.run_build(ws, ["zlib@99"])
    assert mirror.wanted() == (wants(ws),), "what somebody asks for once is not what the stack wants"
    building.run_build(ws)
    pipeline.push(ws)
    pipeline.index(ws)
    all_refused(ws)


def test_a_stack_all_of_which_is_refused_has_another_weather_after_a_run(ws: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    name, stack = ws.stack("")
    here = "linux debian12"
    remembering.remember_wanted(registry(ws), [wants(ws, runner=here)])
    refused = Concretized(name=name, stack=stack, lock=None, rejected=BAD, files={})
    monkeypatch.setattr(planning, "concretized", lambda *_: refused)
    monkeypatch.setattr(planning, "runner_here", lambda *_: here)
    # What somebody asks for once is not what the stack wants.
    assert pipeline.plan(ws, ["zlib@99"]).exit_code == 5
    assert not list((ws.var / "plan").rglob("wanted.json"))
    report = pipeline.plan(ws)
    assert report.exit_code == 5
    assert report.text.count("REJECTED") == 2
    assert report.lines[-2] == "stack examples: Spack refuses all that it wants"
    assert pipeline.plan(ws, simulate=True).exit_code == 5
    published = pipeline.publish(ws)
    assert "what stack examples wants is remembered" in published.text
    all_refused(ws)
    pipeline.plan(ws)
    assert not json.loads((ws.var / "plan/plan.json").read_text(encoding="utf-8")).get("files"), "it is remembered already"

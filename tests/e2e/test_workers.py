"""A plan is built by several workers at once, each with a Spack store of its own, and ends in the cache that one build makes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.oci import LayoutLocation
from cachelib.model.plan import Action, StackPlan, parse_plan
from cachelib.model.schedule import Schedule, Slot
from cachelib.steps.remembering import failure_blob, known_failures, known_wanted
from cachelib.steps.verifying import verify
from cachelib.tools.layout import LayoutRepository
from tests.e2e.conftest import EXAMPLES, PROJECT, SHARED
from tests.support.quiet import QuietProgress

WORKER = """
import sys
from cachelib import pipeline
config, var, shared, plan, parts, number, wait = sys.argv[1:]
ws = pipeline.open_workspace(config, var=var, shared=shared)
report = pipeline.work(ws, int(number), plan, parts, wait=int(wait))
print(report.text)
sys.exit(report.exit_code)
"""


def start(folder: Path, number: int, wait: int = 10) -> subprocess.Popen[str]:
    """A worker in a process and with a store of its own, as on a runner of its own."""
    places = (folder / f"runner{number}", SHARED, folder / "plan", folder / "parts")
    arguments = [str(EXAMPLES / "cache.yaml"), *map(str, places), str(number), str(wait)]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments], cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


def plan(ws: pipeline.Workspace, folder: Path) -> StackPlan | None:
    """Plan; where there is something to build, lay it out for three workers that need each other, whatever the times."""
    pipeline.plan(ws, to=f"oci-layout:{folder / 'registry'}", out=str(folder / "plan"))
    path = folder / "plan/plan.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    (made,) = parse_plan(body)
    if not made.schedule.workers:
        return None
    by_name = {item.label.partition("@")[0]: item.hash for item in made.items}
    rows = (
        (("compiler-wrapper", "gcc-runtime"), ("libsundial",)),
        (("almanac-data",), ("sundial", "broken-clock")),
        (("moonphase", "py-almanac"),),
    )
    here = made.schedule.place().keys()
    workers = []
    for row in rows:
        slots, own = [], set[str]()
        for names in row:
            builds = tuple(by_name[name] for name in names if by_name[name] in here)
            own |= set(builds)
            waits = tuple(sorted({need for h in builds for need in made.needs[h]} - own))
            slots += [Slot(builds=builds, waits=waits)] if builds else []
        workers += [tuple(slots)] if slots else []
    made = replace(made, schedule=Schedule(workers=tuple(workers), seconds=made.schedule.seconds))
    body["stacks"] = [made.json()]
    path.write_text(json.dumps(body), encoding="utf-8")
    return made


def publish(ws: pipeline.Workspace, folder: Path) -> str:
    report = pipeline.gather(ws, str(folder / "plan"), str(folder / "parts"))
    to = f"oci-layout:{folder / 'registry'}"
    assert pipeline.push(ws, to).exit_code == 0
    assert pipeline.index(ws, to).exit_code == 0
    return report.text


def published(folder: Path) -> set[str]:
    repository = LayoutRepository(LayoutLocation(path=folder / "registry/v1.1"))
    assert verify(repository, jobs=4, progress=QuietProgress()).findings == ()
    return {tag.rsplit("-", 2)[0] for tag in repository.tags() if tag.endswith(".spack") and tag != "index.spack"}


ALL = {"compiler-wrapper", "gcc-runtime", "libsundial", "almanac-data", "sundial", "moonphase", "py-almanac"}


@pytest.fixture
def ws(workspace: pipeline.Workspace, tmp_path: Path) -> pipeline.Workspace:
    return replace(workspace, var=tmp_path / "planner")


def test_three_workers_at_once(ws: pipeline.Workspace, tmp_path: Path) -> None:
    made = plan(ws, tmp_path)
    assert made is not None
    assert len(made.schedule.workers) == 3
    started = [start(tmp_path, number) for number in (1, 2, 3)]
    said = [process.communicate(timeout=900)[0] for process in started]
    assert [process.returncode for process in started] == [0, 5, 0], "\n".join(said)
    assert "FAILED   broken-clock" in said[1]
    # Nobody built what another one did.
    built = [line.split()[1] for text in said for line in text.splitlines() if line.startswith("  built ")]
    assert sorted(label.partition("@")[0] for label in built) == sorted(ALL)
    report = publish(ws, tmp_path)
    assert "7 built" in report
    assert "FAILED   broken-clock" in report
    assert published(tmp_path) == ALL
    # All that is left to do is what failed.
    again = plan(ws, tmp_path)
    assert again is not None
    assert [len(slot.builds) for slots in again.schedule.workers for slot in slots] == [1]


def test_a_runner_that_dies_costs_its_own_slots(ws: pipeline.Workspace, tmp_path: Path) -> None:
    """The first one dies when it has handed on its first slot; the next run builds what is left, and ends in the same cache."""
    made = plan(ws, tmp_path)
    assert made is not None
    first = start(tmp_path, 1)
    while first.poll() is None and not (tmp_path / "parts" / made.part(1, 1)).exists():
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "parts" / made.part(1, 2)).exists()
    # The second one never came; the third doesn't wait for what it would have built.
    said = start(tmp_path, 3, wait=0).communicate(timeout=900)[0]
    assert "skipped  py-almanac" in said
    report = publish(ws, tmp_path)
    assert report.count("was not handed on") == 4, report
    assert report.count("did not come in time") == 1, report
    assert published(tmp_path) == {"compiler-wrapper", "gcc-runtime", "moonphase"}
    again = plan(ws, tmp_path)
    assert again is not None
    assert again.id != made.id
    started = [start(tmp_path, at + 1) for at in range(len(again.schedule.workers))]
    told = [process.communicate(timeout=900)[0] for process in started]
    publish(ws, tmp_path)
    assert published(tmp_path) == ALL, "\n".join(told)


ENDLESS = """
from spack_repo.builtin.build_systems.generic import Package

from spack.package import *


class Endless(Package):
    has_code = False
    version("1")
    depends_on("quick")

    def install(self, spec, prefix):
        print("going round", flush=True)
        Executable("sh")("-c", "trap '' INT TERM; while :; do sleep 1; done")
"""
QUICK = """
from spack_repo.builtin.build_systems.generic import Package

from spack.package import *


class {name}(Package):
    has_code = False
    version("1")
    {needs}

    def install(self, spec, prefix):
        touch(join_path(prefix, "here"))
"""


def write_cache(folder: Path, namespace: str, recipes: Mapping[str, str], specs: Sequence[str]) -> None:
    """A cache.yaml like that of the examples, whose stack has recipes of its own."""
    packages = folder / "spack_repo" / namespace / "packages"
    for name, recipe in recipes.items():
        (packages / name).mkdir(parents=True)
        (packages / name / "package.py").write_text(recipe, encoding="utf-8")
    (packages.parent / "repo.yaml").write_text(f"repo:\n  namespace: {namespace}\n  api: v2.0\n", encoding="utf-8")
    settings = yaml.safe_load((EXAMPLES / "cache.yaml").read_text(encoding="utf-8"))
    settings["stacks"]["examples"] |= {"repos": [f"spack_repo/{namespace}"], "specs": list(specs)}
    settings["registry"] = "oci-layout:registry"
    (folder / "cache.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def test_a_build_without_end_costs_neither_the_others_nor_the_next_run(ws: pipeline.Workspace, tmp_path: Path) -> None:
    """It is ended before the job is; what was built by then is published, and it is remembered as failed."""
    recipes = {
        "endless": ENDLESS, "quick": QUICK.format(name="Quick", needs=""), "after": QUICK.format(name="After", needs='depends_on("endless")'),
    }  # fmt: skip
    write_cache(tmp_path, "hang", recipes, ["after"])
    hung = pipeline.open_workspace(str(tmp_path / "cache.yaml"), var=str(tmp_path / "var"), shared=str(SHARED))
    pipeline.plan(hung, workers=1)
    (made,) = parse_plan(json.loads((tmp_path / "var/plan/plan.json").read_text(encoding="utf-8")))
    names = {item.hash: item.label.partition("@")[0] for item in made.items}
    # In one slot: what comes before the one without end is built.
    order = sorted(made.schedule.place(), key=lambda h: ["quick", "endless", "after"].index(names[h]))
    body = json.loads((tmp_path / "var/plan/plan.json").read_text(encoding="utf-8"))
    body["stacks"] = [replace(made, schedule=Schedule(workers=((Slot(builds=tuple(order)),),))).json()]
    (tmp_path / "var/plan/plan.json").write_text(json.dumps(body), encoding="utf-8")
    # An hour is long; here a second is.
    script = f"from cachelib.steps import building; building.LONG = 1.0\n{WORKER_IN_TIME}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(SHARED)], cwd=PROJECT, text=True, capture_output=True, timeout=300
    )
    told = done.stdout + done.stderr
    assert "FAILED   endless" in told
    assert "when the time of its job was over" in told
    assert "skipped  after" in told
    report = pipeline.publish(hung)
    assert "FAILED   endless" in report.text
    registry_ = LayoutRepository(LayoutLocation(path=tmp_path / "registry/v1.1"))
    assert {tag.rsplit("-", 2)[0] for tag in registry_.tags() if tag.endswith(".spack") and tag != "index.spack"} == {"quick"}
    (failure,) = known_failures(registry_).values()
    assert failure.phase == "time"
    # On a machine that is busy Spack may be ended before it wrote a line.
    assert not failure.log or b"going round" in failure_blob(registry_, failure.log)
    # The next run leaves it alone.
    pipeline.plan(hung)
    (again,) = parse_plan(json.loads((tmp_path / "var/plan/plan.json").read_text(encoding="utf-8")))
    assert again.schedule.place() == {}
    assert {names[item.hash] for item in again.of(Action.FAILING)} == {"endless", "after"}


WORKER_IN_TIME = """
import sys
from cachelib import pipeline
folder, shared = sys.argv[1:]
ws = pipeline.open_workspace(f"{folder}/cache.yaml", var=f"{folder}/var", shared=shared)
report = pipeline.work(ws, 1, minutes=1.5)
print(report.text)
"""


CLOCK = """
import time

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *


class {name}(Package):
    has_code = False
    version("1")
    {needs}

    def install(self, spec, prefix):
        with open(join_path(prefix, "made"), "w") as file:
            file.write(str(time.time()))
"""


def images(repository: LayoutRepository) -> dict[str, str]:
    """The digest of each image, by the name of its package."""
    tags = [tag for tag in repository.tags() if tag.endswith(".spack") and tag != "index.spack"]
    return {tag.rsplit("-", 2)[0]: str(repository.manifest(tag).digest) for tag in tags}  # type: ignore[union-attr]


@pytest.mark.parametrize("elsewhere", [True, False], ids=["on a fresh runner", "where it was built"])
def test_rebuild_builds_what_is_there(ws: pipeline.Workspace, tmp_path: Path, elsewhere: bool) -> None:
    """Not the published binary once more: a new one takes its place; and of what it needs nothing is built again."""
    below, above = CLOCK.format(name="Middle", needs='depends_on("base")'), CLOCK.format(name="Above", needs='depends_on("middle")')
    recipes = {"base": CLOCK.format(name="Base", needs=""), "middle": below, "above": above}
    write_cache(tmp_path, "clocks", recipes, ["above", "middle"])

    def opened(var: str) -> pipeline.Workspace:
        return pipeline.open_workspace(str(tmp_path / "cache.yaml"), var=str(tmp_path / var), shared=str(SHARED))

    first = opened("var")
    assert pipeline.cache(first).exit_code == 0
    registry_ = LayoutRepository(LayoutLocation(path=tmp_path / "registry/v1.1"))
    before = images(registry_)
    assert before.keys() == {"base", "middle", "above"}
    weather = pipeline.weather(first).text
    assert "of 2 requests 2 ready" in weather
    assert "3 of 3 specs are in" in weather
    # Asked for as it is, there is nothing to do.
    pipeline.plan(first)
    (nothing,) = parse_plan(json.loads((tmp_path / "var/plan/plan.json").read_text(encoding="utf-8")))
    assert nothing.schedule.place() == {}
    assert list((tmp_path / "var/plan").glob("*/wanted.json")), "this kind of runner has not told yet"

    second = opened("runner" if elsewhere else "var")
    if elsewhere:
        # As with a registry on the network: what was published is to be had as a binary there too.
        shutil.copytree(first.mirror("v1.1").root, second.mirror("v1.1").root)
    report = pipeline.plan(second, rebuild=True)
    assert "to be built again" in report.text
    (made,) = parse_plan(json.loads((second.var / "plan/plan.json").read_text(encoding="utf-8")))
    assert [item.label.partition("@")[0] for item in made.of(Action.BUILD)] == ["middle", "above"]
    worked = pipeline.work(second, 1)
    assert "built    above" in worked.text, worked.text
    assert "built    middle" in worked.text, "as a dependency of the other one Spack would fetch it"
    published = pipeline.publish(second)
    assert published.exit_code == 0, published.text
    after = images(registry_)
    assert after["base"] == before["base"]
    assert after["above"] != before["above"]
    assert after["middle"] != before["middle"]
    assert verify(registry_, jobs=4, progress=QuietProgress()).findings == ()
    # A job that is run again ends in the same.
    assert pipeline.publish(second).exit_code == 0
    assert images(registry_) == after
    assert made.runner in {one.runner for one in known_wanted(registry_)}
    assert f"on {made.runner}: of 2 requests 2 ready" in pipeline.weather(second).text
    pipeline.plan(second, out=str(tmp_path / "third"))
    assert not list((tmp_path / "third").glob("*/wanted.json")), "that is known by now"

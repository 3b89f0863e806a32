"""A planned run in a folder, and what its workers hand on, honestly or not."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cachelib import pipeline
from cachelib.model.outcome import BuildOutcome, Built, Failed, Reused
from cachelib.model.plan import PLAN_VERSION, parse_plan
from cachelib.model.record import Record
from cachelib.model.schedule import Costs, Limits, Slot
from cachelib.steps import planning
from cachelib.steps.building import parse_lock
from cachelib.steps.reports import Report
from cachelib.tools.mirror import DiskMirror
from tests.support.mirrors import add_entry, make_node

PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"
Node = dict[str, Any]


@dataclass
class Run:
    """A planned run in a folder: libc <- base <- middle <- top, and alone; each spec in a slot of its own, of one worker or another."""

    folder: Path
    nodes: dict[str, Node]

    @property
    def workspace(self) -> pipeline.Workspace:
        return pipeline.open_workspace(str(self.folder / "cache.yaml"))

    @property
    def parts(self) -> Path:
        return self.folder / "var/parts"

    def dag(self, name: str) -> list[Node]:
        order = ["top", "middle", "base", "libc"]
        return [self.nodes[below] for below in order[order.index(name) :]] if name in order else [self.nodes[name]]

    def part(self, name: str) -> Path:
        """Where the part lies that is to hold a spec."""
        (made,) = parse_plan(json.loads((self.folder / "var/plan/plan.json").read_text()))
        return self.parts / made.part_of(self.nodes[name]["hash"])

    def hand_on(self, name: str, outcome: BuildOutcome | None = None, **changes: Any) -> Path:
        """An honest part of a spec, but for what is changed of it."""
        path, node = self.part(name), self.nodes[name]
        outcome = outcome or Built(seconds=3.0)
        if isinstance(outcome, Built | Reused):
            add_entry(path, self.dag(name), {f"bin/{name}": name.encode()}, **changes)
        record = Record(name=node["name"], version=node["version"], hash=node["hash"], outcome=outcome)
        DiskMirror(path).write_record(record, b"the log\n" if isinstance(outcome, Failed) else None)
        return path

    def gather(self) -> Report:
        return pipeline.gather(self.workspace)

    def mirror(self) -> DiskMirror:
        return self.workspace.mirror("v1.1")

    def names(self) -> set[str]:
        return {name.name for name in self.mirror().names()}


def plan_run(tmp_path: Path) -> Run:
    """A run that is planned, of which nothing is built yet."""
    libc = make_node("libc", external={"path": "/usr", "module": None})
    base = make_node("base", dependencies=[libc])
    middle = make_node("middle", dependencies=[base])
    top = make_node("top", dependencies=[middle])
    alone = make_node("alone")
    nodes = {node["name"]: node for node in (libc, base, middle, top, alone)}
    lock = {
        "_meta": {"lockfile-version": 6}, "concrete_specs": {node["hash"]: node for node in nodes.values()},
        "roots": [{"hash": top["hash"], "spec": "top"}, {"hash": alone["hash"], "spec": "alone"}],
    }  # fmt: skip
    (tmp_path / "cache.yaml").write_text(f"registry: oci-layout:r\nstacks:\n  s: {{spack: {PIN}, packages: {PIN}, specs: [top]}}\n")
    made = planning.make_plan(
        parse_lock(lock), id="0123abcd", stack="s", image="v1.1", runner="r", present={}, seconds={}, limits=Limits(), costs=Costs(),
    )  # fmt: skip
    one, two = (Slot(builds=(base["hash"],)), Slot(builds=(middle["hash"],))), (
        Slot(builds=(alone["hash"],)), Slot(builds=(top["hash"],), waits=(middle["hash"],)),
    )  # fmt: skip
    made = replace(made, schedule=replace(made.schedule, workers=(one, two)))
    folder = tmp_path / "var/plan"
    (folder / made.key).mkdir(parents=True)
    (folder / made.key / "spack.lock").write_text(json.dumps(lock))
    (folder / "plan.json").write_text(json.dumps({"meta": {"plan": PLAN_VERSION}, "stacks": [made.json()], "matrix": made.jobs()}))
    return Run(tmp_path, nodes)


def hand_on_all(run: Run) -> None:
    """Everything, honestly."""
    for name in ("base", "middle", "top", "alone"):
        run.hand_on(name)

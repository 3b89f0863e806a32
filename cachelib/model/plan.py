"""The plan of a run: of each spec of a stack what is to become of it, and why; and who builds what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.package_repo import parse_pinned
from cachelib.model.schedule import Schedule, parse_schedule
from cachelib.model.spec import check_hash
from cachelib.model.stack import CONTAINER

#: The minor version counts additions; readers ignore keys they don't know.
PLAN_VERSION = "2.3"


class Action(Enum):
    """What is to become of a spec."""

    BUILD = "build"
    PRESENT = "present"
    EXTERNAL = "external"
    IDLE = "idle"
    LEFT_OVER = "left over"
    FAILING = "failing"
    RESTRICTED = "not redistributable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One spec of a plan. `seconds` is what its build is thought to take, 0 where it isn't built."""

    hash: str
    label: str
    action: Action
    reason: str
    seconds: float = 0.0

    def json(self) -> dict[str, Any]:
        return {
            "hash": self.hash, "label": self.label, "action": self.action.value, "reason": self.reason, "seconds": round(self.seconds, 1),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """The plan of one stack on one kind of runner.

    `id` (8 hex digits) tells it from every other plan, so that its parts have names of their own; `needs` are the edges between the
    specs that are built; `bound` is the least time there can be; `roots` are the requests, by what they became. `rebuild` is what is built
    though it is published: its binary is not fetched, and takes the place of the published one. `repos` are package repositories that come
    before the stack's own: folders, and commits, so that whoever builds has the recipes that were planned. `container` is the image of the
    container that it was planned in, and is built in.
    """

    id: str
    stack: str
    image: str
    runner: str
    items: tuple[PlanItem, ...]
    needs: Mapping[str, tuple[str, ...]]
    schedule: Schedule
    bound: float
    roots: Mapping[str, str] = field(default_factory=dict)
    rebuild: frozenset[str] = frozenset()
    repos: tuple[str, ...] = ()
    container: str = ""

    def of(self, action: Action) -> tuple[PlanItem, ...]:
        """The items that something is to become of."""
        return tuple(item for item in self.items if item.action is action)

    @property
    def key(self) -> str:
        """What the plan's files and parts are called by."""
        return f"{self.stack}-{self.id}"

    def job(self, worker: int) -> str:
        """What the job of a worker (counted from 1) is called on GitHub; the others look for it there by this name."""
        return f"build ({self.stack} on {self.runner}, worker {worker})"

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs of a matrix: one a worker, counted from 1 as people do."""
        return [
            {
                "name": self.job(at + 1), "plan": self.key, "runner": self.runner, "container": self.container, "worker": at + 1,
                "slots": len(slots),
            }
            for at, slots in enumerate(self.schedule.workers)
        ]  # fmt: skip

    def part(self, worker: int, slot: int) -> str:
        """What the part of a slot is called that is handed on; both are counted from 1."""
        return f"{self.key}-worker-{worker}-slot-{slot}"

    def part_of(self, dag_hash: str) -> str:
        """The part that a spec is to be in."""
        worker, slot = self.schedule.place()[dag_hash]
        return self.part(worker + 1, slot + 1)

    def worker_of(self, part: str) -> int:
        """The worker (counted from 1) that hands on a part."""
        return int(part.rpartition("-slot-")[0].rpartition("-")[2])

    def parts(self) -> dict[str, tuple[str, ...]]:
        """All parts of the plan, and what each may hold."""
        return {
            self.part(at + 1, number + 1): slot.builds
            for at, slots in enumerate(self.schedule.workers)
            for number, slot in enumerate(slots)
        }

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "stack": self.stack,
            "image": self.image,
            "runner": self.runner,
            "container": self.container,
            "items": [item.json() for item in self.items],
            "needs": {h: list(needs) for h, needs in self.needs.items()},
            "schedule": self.schedule.json(),
            "bound": round(self.bound, 1),
            "roots": dict(self.roots),
            "rebuild": sorted(self.rebuild),
            "repos": list(self.repos),
        }


def parse_plan(data: Mapping[str, Any]) -> tuple[StackPlan, ...]:
    """Read the JSON of a plan; raise FormatError where it is malformed, or of another major version."""
    try:
        if str(data["meta"]["plan"]).partition(".")[0] != PLAN_VERSION.partition(".")[0]:
            raise FormatError(f"a plan of version {data['meta']['plan']!r}; this program reads {PLAN_VERSION}")
        return tuple(_stack(item) for item in data["stacks"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, UsageError) as error:
        raise FormatError(f"a plan is malformed: {error!r}"[:300]) from None


def _stack(data: Mapping[str, Any]) -> StackPlan:
    items = tuple(
        PlanItem(
            hash=check_hash(item["hash"], "a plan"), label=str(item["label"]), action=Action(item["action"]), reason=str(item["reason"]),
            seconds=float(item["seconds"]),
        )
        for item in data["items"]
    )  # fmt: skip
    plan = StackPlan(
        id=_id(data["id"]), stack=str(data["stack"]), image=str(data["image"]), runner=str(data["runner"]), items=items,
        needs={check_hash(h, "a plan"): tuple(check_hash(need, "a plan") for need in needs) for h, needs in data["needs"].items()},
        schedule=parse_schedule(data["schedule"]), bound=float(data["bound"]),
        roots={check_hash(h, "a plan"): str(request) for h, request in data["roots"].items()},
        rebuild=frozenset(check_hash(h, "a plan") for h in data.get("rebuild", ())),
        repos=tuple(str(parse_pinned(repo)) for repo in data.get("repos", ())), container=_image(str(data.get("container", ""))),
    )  # fmt: skip
    if plan.schedule.place().keys() != plan.needs.keys() or plan.needs.keys() != {item.hash for item in plan.of(Action.BUILD)}:
        raise FormatError("a plan builds other specs than it schedules")
    return plan


def _image(text: str) -> str:
    if text and not re.search(CONTAINER, text):
        raise FormatError(f"{text[:200]!r} is no image of a container")
    return text


def _id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise FormatError(f"{text!r} is the id of no plan")
    return text

"""The plan of a run: of each spec of a stack what is to become of it, and why; and who builds what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cachelib.model.schedule import Schedule

#: The minor version counts additions; readers ignore keys they don't know.
PLAN_VERSION = "1.0"


class Action(Enum):
    """What is to become of a spec."""

    BUILD = "build"
    PRESENT = "present"
    EXTERNAL = "external"
    IDLE = "idle"
    LEFT_OVER = "left over"


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
    """The plan of one stack. `needs` are the edges between the specs that are built; `bound` is the least time there can be."""

    stack: str
    image: str
    runner: str
    items: tuple[PlanItem, ...]
    needs: Mapping[str, tuple[str, ...]]
    schedule: Schedule
    bound: float

    def of(self, action: Action) -> tuple[PlanItem, ...]:
        """The items that something is to become of."""
        return tuple(item for item in self.items if item.action is action)

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs of a matrix: one a worker."""
        return [
            {"stack": self.stack, "worker": at, "runner": self.runner, "slots": len(slots)}
            for at, slots in enumerate(self.schedule.workers)
        ]

    def json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "image": self.image,
            "runner": self.runner,
            "items": [item.json() for item in self.items],
            "needs": {h: list(needs) for h, needs in self.needs.items()},
            "schedule": self.schedule.json(),
            "bound": round(self.bound, 1),
        }

"""A schedule: which worker builds what, in which order, and what each part has to wait for. Times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachelib.model.errors import FormatError
from cachelib.model.spec import check_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A spec that is to be built, how long that is thought to take, and which others it needs first."""

    hash: str
    label: str
    seconds: float
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a job costs beside building: once at its start (a runner, Spack), and in each slot (hand-over, Spack's start)."""

    job: float = 180.0
    slot: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use: workers, slots of each, and the seconds of a job.

    GitHub ends a job after 6 hours, runs 20 jobs at once, and takes 500 artifacts, one a slot.
    """

    workers: int = 20
    slots: int = 24
    seconds: float = 5.5 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A batch of one worker: built in this order, when everything it waits for (built by others) is there; then handed on."""

    builds: tuple[str, ...]
    waits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOver:
    """A spec that is not built in this run, and why."""

    hash: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The slots of each worker, what is left for the next run, and how long all is thought to take."""

    workers: tuple[tuple[Slot, ...], ...] = ()
    left_over: tuple[LeftOver, ...] = ()
    seconds: float = 0.0

    def place(self) -> dict[str, tuple[int, int]]:
        """Of each spec, its worker and slot, counted from 0."""
        return {h: (at, number) for at, slots in enumerate(self.workers) for number, slot in enumerate(slots) for h in slot.builds}

    def json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 1),
            "workers": [[{"builds": list(slot.builds), "waits": list(slot.waits)} for slot in slots] for slots in self.workers],
            "leftOver": [{"hash": left.hash, "reason": left.reason} for left in self.left_over],
        }


def parse_schedule(data: Mapping[str, Any]) -> Schedule:
    """Read a schedule's JSON object; raise FormatError where it is malformed, or names a spec twice."""
    try:
        workers = tuple(
            tuple(Slot(builds=_hashes(slot["builds"]), waits=_hashes(slot["waits"])) for slot in slots) for slots in data["workers"]
        )
        left = tuple(LeftOver(hash=check_hash(item["hash"], "what is left"), reason=str(item["reason"])) for item in data["leftOver"])
        schedule = Schedule(workers=workers, left_over=left, seconds=float(data["seconds"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"a schedule is malformed: {error!r}"[:300]) from None
    named = [h for slots in workers for slot in slots for h in slot.builds]
    if len(set(named)) != len(named):
        raise FormatError("a schedule builds a spec twice")
    return schedule


def _hashes(data: list[str]) -> tuple[str, ...]:
    return tuple(check_hash(h, "a slot") for h in data)

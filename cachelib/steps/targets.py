"""Microarchitectures: which family a target is of, and what a machine builds for which. The data is archspec's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import archspec.cpu

from cachelib.model.outcome import Elsewhere
from cachelib.model.request import named_target, with_target

_BEYOND = "which this machine's CPU can't run"


def family(target: str) -> str:
    """The family of a target: x86_64 for x86_64_v3 and icelake; the target itself where archspec doesn't know it."""
    found = archspec.cpu.TARGETS.get(target)
    return str(found.family) if found is not None else target


def family_here(machine: str) -> str:
    """The family of a machine, which is as uname tells it; macOS says arm64 for aarch64."""
    return family({"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine))


def targets_here(targets: Sequence[str], machine: str) -> tuple[str, ...]:
    """Those of the targets that are of the machine's family, each once."""
    own = family_here(machine)
    return tuple(dict.fromkeys(target for target in targets if family(target) == own))


def can_run(cpu: str, target: str) -> bool:
    """Whether a CPU runs what is built for a target: it is that, or descends from it. What archspec doesn't know runs nothing."""
    found = archspec.cpu.TARGETS.get(cpu)
    return found is not None and (cpu == target or target in {str(ancestor.name) for ancestor in found.ancestors})


def beyond(cpu: str, target: str) -> str:
    """Why a CPU can't run what is built for a target; nothing where it can, or where either is not told."""
    return f"it is for {target}, {_BEYOND} ({cpu})" if cpu and target and not can_run(cpu, target) else ""


def is_beyond(reason: str) -> bool:
    """Whether a reason is one of `beyond`: the same machine would not do better the next time."""
    return _BEYOND in reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests that are concretized together: for one target (nothing where none is pinned), which this CPU may not be able to run."""

    target: str
    requests: tuple[str, ...]
    beyond: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Requests by target, and what this machine leaves to others."""

    batches: tuple[Batch, ...]
    elsewhere: tuple[Elsewhere, ...] = ()


def _foreign(targets: Sequence[str], named: str) -> str:
    anybody = any(family(target) == named for target in targets)
    return f"it is for machines of {named}" + ("" if anybody else ", for which the stack has no target, so that none plans it")


def divide(targets: Sequence[str], requests: Sequence[str], *, machine: str, cpu: str, every: bool = False) -> Division:
    """Divide requests by the targets of a stack that are of this machine's family; a request that names a target is of that one alone.

    What the CPU can't run is left to others; with `every` it is a batch all the same, as planning takes no CPU that runs it.
    """
    if not targets:
        return Division(batches=(Batch(target="", requests=tuple(requests)),))
    here = targets_here(targets, machine)
    own = {request: target for request in requests if (target := named_target(request))}
    # What is no microarchitecture, such as a range, is Spack's to understand: beside the first target.
    own = {request: target if target in archspec.cpu.TARGETS else here[0] for request, target in own.items() if here}
    elsewhere = [
        Elsewhere(what=request, reason=_foreign(targets, family(target)))
        for request, target in own.items()
        if family(target) != family_here(machine)
    ]
    batches = []
    for target in dict.fromkeys((*here, *targets_here(tuple(own.values()), machine))):
        free = tuple(request for request in requests if request not in own) if target in here else ()
        reason = beyond(cpu, target)
        if reason:
            elsewhere.append(Elsewhere(what=f"target {target}", reason=reason))
        if every or not reason:
            asked = (*free, *(request for request in requests if own.get(request) == target))
            batches.append(Batch(target=target, requests=asked, beyond=bool(reason)))
    if len(batches) > 1:
        batches = [replace(one, requests=tuple(with_target(request, one.target) for request in one.requests)) for one in batches]
    return Division(batches=tuple(batches), elsewhere=tuple(elsewhere))

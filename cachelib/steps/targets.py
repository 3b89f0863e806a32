"""Microarchitectures: which family a target is of, and which target a machine builds for. The data is archspec's."""

from __future__ import annotations

from collections.abc import Sequence

import archspec.cpu


def family(target: str) -> str:
    """The family of a target: x86_64 for x86_64_v3 and icelake; the target itself where archspec doesn't know it."""
    found = archspec.cpu.TARGETS.get(target)
    return str(found.family) if found is not None else target


def choose_target(targets: Sequence[str], machine: str) -> str:
    """The first of the targets that is of the machine's family; nothing where none is named at all.

    `machine` is as uname tells it; macOS says arm64 for aarch64.
    """
    own = family({"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine))
    return next((target for target in targets if family(target) == own), "")


def can_run(cpu: str, target: str) -> bool:
    """Whether a CPU runs what is built for a target: it is that, or descends from it. What archspec doesn't know runs nothing."""
    found = archspec.cpu.TARGETS.get(cpu)
    return found is not None and (cpu == target or target in {str(ancestor.name) for ancestor in found.ancestors})

"""What the command line offers, as values, for the reference pages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag of a task."""

    name: str
    help: str
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHelp:
    """A task: its name, its sentence, its flags."""

    name: str
    help: str
    flags: tuple[Flag, ...]

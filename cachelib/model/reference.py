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


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a job's token may: read or write, and what for."""

    name: str
    access: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHelp:
    """A job of a workflow, and what it may."""

    name: str
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInput:
    """An input of a workflow."""

    name: str
    help: str
    kind: str
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowHelp:
    """A workflow: what its file says of it, what starts it, what it takes, and its jobs."""

    file: str
    about: str
    events: tuple[str, ...]
    inputs: tuple[WorkflowInput, ...]
    jobs: tuple[JobHelp, ...]

"""What a machine is and has, as far as building goes."""

from __future__ import annotations

from dataclasses import dataclass

from cachelib.model.check import Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A folder's file system: free bytes, and free inodes (None where it makes them as it needs them)."""

    folder: str
    free: int
    inodes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine. `target` is archspec's name of its CPU; `compilers` are programs that look like C compilers."""

    python: tuple[int, int, int]
    clingo: bool
    missing: tuple[str, ...]
    compilers: tuple[str, ...]
    target: str | Unknown
    disk: Disk | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSpack:
    """A Spack on this machine: where, whether it was given (SPACK_ROOT) or is the pinned one, its commit, and what it says of itself.

    `version` is None where there is none at all; `commit` is empty where it is no git checkout.
    """

    root: str
    given: bool
    commit: str
    version: tuple[int, int, str] | Unknown | None

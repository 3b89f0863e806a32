"""What this machine is and has: its CPU, its programs, its disk."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import archspec.cpu

from cachelib.model.check import Unknown
from cachelib.model.machine import Disk, Machine

#: What Spack needs beside Python and a compiler (Spack documentation, System Prerequisites).
PROGRAMS = ("git", "patch", "tar", "gzip", "bzip2", "xz", "unzip", "file")
_COMPILER = re.compile(r"(?:cc|gcc|clang|icx|nvc|craycc|xlc|fcc|amdclang|armclang)(?:-\d[\d.]*)?")


def look_at_machine(folder: Path, env: Mapping[str, str]) -> Machine:
    """This machine, and the disk that `folder` is or will be on."""
    path = env.get("PATH", os.defpath)
    return Machine(
        python=sys.version_info[:3],
        clingo=importlib.util.find_spec("clingo") is not None,
        missing=tuple(name for name in PROGRAMS if shutil.which(name, path=path) is None),
        compilers=tuple(sorted(set(_compilers(path)))),
        target=find_cpu(),
        disk=_disk(folder),
    )


def _compilers(path: str) -> Iterator[str]:
    for folder in filter(None, path.split(os.pathsep)):
        try:
            names = [entry.name for entry in os.scandir(folder) if _COMPILER.fullmatch(entry.name)]
        except OSError:
            continue  # PATH may name what is not there
        yield from (name for name in names if shutil.which(name, path=folder))


def find_cpu() -> str | Unknown:
    """What archspec calls the CPU of this machine."""
    try:
        return str(archspec.cpu.host().name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        return Unknown(reason=f"archspec can't tell this machine's CPU: {error!r}")


def _disk(folder: Path) -> Disk | Unknown:
    try:
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        found = os.statvfs(there)
    except (OSError, StopIteration) as error:
        return Unknown(reason=f"the disk of {folder} can't be asked: {error!r}")
    return Disk(folder=str(folder), free=found.f_bavail * found.f_frsize, inodes=found.f_favail if found.f_files else None)

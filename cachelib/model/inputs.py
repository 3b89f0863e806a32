"""What a person asks of a run on GitHub: the inputs of a workflow, as data. None of them ever becomes part of a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachelib.model.errors import UsageError
from cachelib.model.package_repo import parse_asked
from cachelib.model.request import with_target

#: More specs, or longer ones, are no request of a person.
MOST_SPECS, LONGEST = 500, 4000
#: More packages by chance, or more workers (a matrix of GitHub has no more jobs), are not meant either.
MOST_RANDOM, MOST_WORKERS = 1000, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """The inputs that all workflows share; empty or 0 means: as cache.yaml says."""

    specs: tuple[str, ...] = ()
    stack: str = ""
    rebuild: bool = False
    workers: int = 0
    random: int = 0
    seed: str = ""
    publish: bool = True
    site: bool = True
    repos: tuple[str, ...] = ()

    @property
    def one_stack(self) -> bool:
        """Whether this is asked of one stack: the one that is named, or the first."""
        return bool(self.stack or self.specs or self.random)


def check_inputs(asked: RunInputs) -> RunInputs:
    """The same; raise UsageError where they can't be meant together."""
    if not 0 <= asked.workers <= MOST_WORKERS:
        raise UsageError(f"there are to be {asked.workers} workers", hint=f"from 1 to {MOST_WORKERS}: a matrix of GitHub has no more jobs")
    if not 0 <= asked.random <= MOST_RANDOM:
        raise UsageError(f"{asked.random} packages are to be picked", hint=f"from 1 to {MOST_RANDOM}")
    if asked.random and asked.specs:
        raise UsageError(
            "specs are given, and packages are to be picked at random",
            hint="a run builds what was asked for or what is picked: leave one out",
        )
    if asked.seed and not asked.random:
        raise UsageError("a seed is given, but no package is to be picked", hint="say how many packages are to be picked at random")
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupInputs:
    """What a Spack is set up with; empty means: as cache.yaml pins it, and where it is usual."""

    caches: tuple[str, ...] = ()
    spack_version: str = ""
    packages_version: str = ""
    path: str = ""
    repos: tuple[str, ...] = ()


def parse_inputs(text: str) -> RunInputs:
    """Read the JSON of a workflow's `inputs`; raise UsageError naming the input that can't be meant.

    Runs without inputs (a schedule) have none: GitHub then writes null or an empty object.
    """
    data = _read(text)
    specs = _lines(data, "specs") + _lines(data, "spec")
    specs = tuple(with_choices(spec, _text(data, "compiler").strip(), _text(data, "target").strip()) for spec in specs)
    if len(specs) > MOST_SPECS:
        raise UsageError(f"the input `specs` has {len(specs)} lines", hint=f"at most {MOST_SPECS}; a stack of cache.yaml takes more")
    return check_inputs(RunInputs(
        specs=specs, stack=_text(data, "stack").strip(), rebuild=_yes(data, "rebuild", default=False),
        workers=_number(data, "workers", MOST_WORKERS), random=_number(data, "random", MOST_RANDOM), seed=_text(data, "seed").strip(),
        publish=_yes(data, "publish", default=True), site=_yes(data, "site", default=True),
        repos=_repos(data),
    ))  # fmt: skip


def parse_setup(text: str) -> SetupInputs:
    """Read the same JSON, of the inputs of the action `setup`."""
    data = _read(text)
    return SetupInputs(
        caches=_lines(data, "cache"), spack_version=_text(data, "spack-version").strip(),
        packages_version=_text(data, "packages-version").strip(), path=_text(data, "path"), repos=_repos(data),
    )  # fmt: skip


def with_choices(spec: str, compiler: str, target: str) -> str:
    """A spec with a compiler and a target that were chosen beside it."""
    return with_target(f"{spec} %{compiler}" if compiler else spec, target)


def _read(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise UsageError("the workflow's inputs are no JSON", hint="pass `WORKFLOW_INPUTS: ${{ toJSON(inputs) }}`") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError("the workflow's inputs are no JSON object", hint="pass `WORKFLOW_INPUTS: ${{ toJSON(inputs) }}`")
    return data


def _lines(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in _text(data, name).splitlines() if line.strip())


def _repos(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Package repositories, separated by commas or lines, in the order in which they are asked."""
    listed = (part.strip() for line in _lines(data, "repos") for part in line.split(","))
    return tuple(map(str, parse_asked([text for text in listed if text], "the input `repos`")))


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise UsageError(f"the input `{name}` is {value!r}", hint="it is a text")
    if len(str(value)) > LONGEST * (MOST_SPECS if name in ("specs", "spec", "repos") else 1) or any(
        len(line) > LONGEST for line in str(value).splitlines()
    ):
        raise UsageError(f"the input `{name}` is too long", hint=f"a line has at most {LONGEST} characters")
    return str(value)


def _yes(data: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = data.get(name)
    # A dispatch by the API hands on text; a called workflow hands on the value itself.
    known = {None: default, "": default, True: True, False: False, "true": True, "false": False}
    if not isinstance(value, str | bool | None) or value not in known:
        raise UsageError(f"the input `{name}` is {value!r}", hint="it is true or false")
    return known[value]


def _number(data: Mapping[str, Any], name: str, most: int) -> int:
    value = data.get(name)
    if value in (None, ""):
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or not 0 <= number <= most or number != int(number):
        raise UsageError(f"the input `{name}` is {value!r}", hint=f"a number from 0 to {most}")
    return int(number)

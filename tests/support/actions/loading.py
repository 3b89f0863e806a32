"""Reads workflows and actions, and refuses what GitHub would refuse: a key that nobody knows does nothing there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.actions.expressions import check_syntax
from tests.support.actions.permissions import Permissions, read_permissions
from tests.support.actions.values import Value, WorkflowError

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORKFLOW = {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs", "cache-mode"}
_JOB = {"name", "permissions", "needs", "if", "runs-on", "environment", "concurrency", "outputs", "env", "defaults", "steps", "cache-mode"}
_JOB |= {"timeout-minutes", "strategy", "continue-on-error", "container"}
_CALLER = {"name", "permissions", "needs", "if", "concurrency", "uses", "with", "secrets", "strategy"}
_STEP = {"id", "if", "name", "uses", "run", "working-directory", "shell", "with", "env", "continue-on-error", "timeout-minutes"}
_STRATEGY = {"matrix", "fail-fast", "max-parallel"}


class _Loader(yaml.SafeLoader):
    """YAML 1.2, as GitHub reads it: `on`, `yes` and `off` are texts, and so is what looks like a time."""


_KEPT = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:float"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+"), list("-+0123456789"))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found or key == "<<":
            raise WorkflowError(f"line {key_node.start_mark.line + 1}: '{key}' is already defined or can't be")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is written."""

    id: str
    raw: Mapping[str, Value]
    needs: tuple[str, ...]
    permissions: Permissions | None

    @property
    def steps(self) -> list[dict[str, Value]]:
        """Its steps; a call has none."""
        return list(self.raw.get("steps") or [])

    @property
    def uses(self) -> str:
        """The workflow that it calls."""
        return str(self.raw.get("uses") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow as it is written; `triggers` are what stands below `on:`."""

    path: str
    name: str
    raw: Mapping[str, Value]
    triggers: Mapping[str, dict[str, Value]]
    permissions: Permissions | None
    jobs: Mapping[str, Job]

    def ancestors(self, job: str) -> set[str]:
        """All jobs that must end before that one."""
        found: set[str] = set()
        left = list(self.jobs[job].needs)
        while left:
            if (name := left.pop()) not in found:
                found.add(name)
                left += self.jobs[name].needs
        return found


def read_yaml(path: Path) -> Value:
    """What a YAML file holds."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # it is a SafeLoader
    except (OSError, yaml.YAMLError) as error:
        raise WorkflowError(f"{path}: {error}") from None


def _known(where: str, raw: Value, known: set[str]) -> None:
    if not isinstance(raw, dict):
        raise WorkflowError(f"{where}: a mapping was expected")
    if unknown := sorted(str(key) for key in raw.keys() - known):
        raise WorkflowError(f"{where}: Unexpected value '{unknown[0]}'")


def check_steps(where: str, steps: Value, *, composite: bool) -> None:
    """Raise WorkflowError where a list of steps is none."""
    if not isinstance(steps, list):
        raise WorkflowError(f"{where}: steps were expected")
    names: set[str] = set()
    for number, step in enumerate(steps, 1):
        at = f"{where}, step {number}"
        _known(at, step, _STEP - ({"timeout-minutes"} if composite else set()))
        if ("uses" in step) == ("run" in step):
            raise WorkflowError(f"{at}: There must be either a 'uses' or a 'run'")
        if "run" in step and "with" in step:
            raise WorkflowError(f"{at}: Unexpected value 'with'")
        if "uses" in step and step.keys() & {"shell", "working-directory"}:
            raise WorkflowError(f"{at}: 'shell' and 'working-directory' belong to 'run'")
        if composite and "run" in step and "shell" not in step:
            raise WorkflowError(f"{at}: Required property is missing: shell")
        name = step.get("id")
        if name is not None and (not _ID.fullmatch(str(name)) or name in names or str(name).startswith("__")):
            raise WorkflowError(f"{at}: The identifier '{name}' is invalid or not unique")
        names.add(str(name))


def _job(path: str, name: str, raw: Value) -> Job:
    where = f"{path}, job {name}"
    if not _ID.fullmatch(name):
        raise WorkflowError(f"{where}: not a valid identifier")
    calls = isinstance(raw, dict) and "uses" in raw
    _known(where, raw, _CALLER if calls else _JOB)
    if not calls:
        if "runs-on" not in raw:
            raise WorkflowError(f"{where}: Required property is missing: runs-on")
        check_steps(where, raw.get("steps"), composite=False)
    if isinstance(raw.get("strategy"), dict):
        _known(f"{where}, strategy", raw["strategy"], _STRATEGY)
    if isinstance(raw.get("container"), dict):
        _known(f"{where}, container", raw["container"], {"image"})
    if "defaults" in raw:
        _known(f"{where}, defaults", raw["defaults"], {"run"})
    needs = raw.get("needs") or []
    return Job(
        id=name,
        raw=raw,
        needs=tuple([needs] if isinstance(needs, str) else needs),
        permissions=read_permissions(where, raw["permissions"]) if "permissions" in raw else None,
    )


def _triggers(path: str, raw: Value) -> dict[str, dict[str, Value]]:
    if isinstance(raw, str):
        return {raw: {}}
    if isinstance(raw, list):
        return {str(name): {} for name in raw}
    if not isinstance(raw, dict):
        raise WorkflowError(f"{path}: No event triggers defined in `on`")
    return {name: value if isinstance(value, dict) else {"schedule": value} if value else {} for name, value in raw.items()}


def load_workflow(path: Path, name: str) -> Workflow:
    """The workflow of a file that is called so in its repository."""
    if not path.is_file():
        raise WorkflowError(f"{name}: workflow was not found")
    raw = read_yaml(path)
    _known(name, raw, _WORKFLOW)
    if not isinstance(raw.get("jobs"), dict) or not raw["jobs"]:
        raise WorkflowError(f"{name}: Required property is missing: jobs")
    check_syntax(name, raw)
    jobs = {key: _job(name, key, value) for key, value in raw["jobs"].items()}
    for job in jobs.values():
        if unknown := set(job.needs) - jobs.keys():
            raise WorkflowError(f"{name}: Job '{job.id}' depends on unknown job '{min(unknown)}'")
    workflow = Workflow(
        path=name,
        name=str(raw.get("name") or name),
        raw=raw,
        triggers=_triggers(name, raw.get("on")),
        permissions=read_permissions(name, raw["permissions"]) if "permissions" in raw else None,
        jobs=jobs,
    )
    for job in jobs.values():
        if job.id in workflow.ancestors(job.id):
            raise WorkflowError(f"{name}: Job '{job.id}' depends on itself")
    return workflow


def load_action(folder: Path, name: str) -> dict[str, Value]:
    """The composite action of a folder."""
    path = next((folder / file for file in ("action.yml", "action.yaml") if (folder / file).is_file()), None)
    if path is None:
        raise WorkflowError(f"Can't find 'action.yml' or 'action.yaml' for action '{name}' under '{folder}'")
    raw = read_yaml(path)
    _known(name, raw, {"name", "description", "author", "inputs", "outputs", "runs", "branding"})
    runs = raw.get("runs") or {}
    if runs.get("using") != "composite":
        raise WorkflowError(f"{name}: only composite actions are run from their file, not {runs.get('using')!r}")
    _known(f"{name}, runs", runs, {"using", "steps"})
    check_syntax(name, raw)
    check_steps(name, runs.get("steps"), composite=True)
    for key, known in (
        ("inputs", {"description", "required", "default", "deprecationMessage", "type"}),
        ("outputs", {"description", "value"}),
    ):
        for inner, value in (raw.get(key) or {}).items():
            _known(f"{name}, {key}.{inner}", value or {}, known)
    return dict(raw)

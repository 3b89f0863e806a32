"""Reads the workflows of a repository: what starts them, what they take, and what each job may."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from cachelib.model.errors import UsageError
from cachelib.model.reference import JobHelp, Permission, WorkflowHelp, WorkflowInput


class _Loader(yaml.SafeLoader):
    """YAML in which `on` is a word, and no yes."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PERMISSION = re.compile(r"      ([a-z-]+): (read|write)(?: # (.+))?")


def workflow_help(project: Path) -> tuple[WorkflowHelp, ...]:
    """All workflows of a project, by their files' names."""
    return tuple(_read(path) for path in sorted((project / ".github/workflows").glob("*.yml")))


def dispatch_inputs(path: Path) -> frozenset[str] | None:
    """The inputs that a workflow takes where it is started by hand, or by another run; nothing where it can't be started so."""
    try:
        events = yaml.load(path.read_text(encoding="utf-8"), _Loader)["on"]  # noqa: S506 - a SafeLoader
        if "workflow_dispatch" not in events:
            return None
        about = events["workflow_dispatch"] if isinstance(events, dict) else None
        return frozenset(map(str, (about or {}).get("inputs") or ()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="the job's checkout has the workflow that this is a run of") from None


def _read(path: Path) -> WorkflowHelp:
    text = path.read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    events = data["on"] if isinstance(data["on"], dict) else {data["on"]: None}
    inputs: dict[str, dict[str, Any]] = {}
    for event in events.values():
        inputs |= (event or {}).get("inputs", {}) if isinstance(event, dict) else {}
    reasons = _reasons(text)
    return WorkflowHelp(
        file=path.name,
        about=" ".join(line.removeprefix("# ") for line in text[: text.index("name:")].splitlines()),
        events=tuple(events),
        inputs=tuple(
            WorkflowInput(name=name, help=str(about["description"]), kind=str(about["type"]), default=str(about.get("default", "")).strip())
            for name, about in inputs.items()
        ),
        jobs=tuple(
            JobHelp(
                name=name,
                permissions=tuple(
                    Permission(name=scope, access=access, reason=reasons.get((name, scope), ""))
                    for scope, access in (job.get("permissions") or {}).items()
                ),
            )
            for name, job in data["jobs"].items()
        ),
    )


def _reasons(text: str) -> dict[tuple[str, str], str]:
    """What the comment beside each permission says, by job and permission."""
    found, job, inside = {}, "", False
    for line in text[text.index("\njobs:") :].splitlines():
        if match := re.fullmatch(r"  ([a-z_-]+):", line):
            job = match[1]
        inside = line == "    permissions:" or (inside and line.startswith("      "))
        if inside and (match := _PERMISSION.fullmatch(line)):
            found[job, match[1]] = match[3] or ""
    return found

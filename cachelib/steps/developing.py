"""Holds what is built to commits: code at a path has no name that others could trust."""

from __future__ import annotations

from cachelib.model.errors import BuildError
from cachelib.steps.building import Lock


def check_known(lock: Lock) -> None:
    """Raise BuildError where something is built from a path: its hash tells the path, and not what lies there."""
    for node in lock.nodes.values():
        if path := node.parameters.get("dev_path"):
            raise BuildError(
                f"{node.label} would be built from {path}, and its hash would be the same whatever lies there",
                hint=f"in place of dev_path name it below `develop:`, as {node.name}: {{spec: {node.name}@VERSION, path: FOLDER}}",
            )

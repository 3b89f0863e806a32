"""The settings themselves: what they mean, and the reference that is made from the code."""

from __future__ import annotations

from pathlib import Path

from cachelib.pipeline.workspace import PROJECT, Workspace
from cachelib.steps.reference import reference
from cachelib.steps.reports import Report
from cachelib.steps.targets import targets_here
from cachelib.tools.files import write_atomically
from cachelib.tools.task_help import task_help
from cachelib.tools.workflow_files import workflow_help


def config(ws: Workspace) -> Report:
    """Say what cache.yaml means: it has been checked by being read."""
    lines = []
    for name, stack in ws.settings.stacks.items():
        here = ", ".join(targets_here(stack.targets, ws.machine))
        target = here or ("NONE FOR THIS MACHINE" if stack.targets else "this machine's own")
        lines.append(f"  {name}: {len(stack.specs)} requests with Spack {stack.spack.version}, target {target}")
        if stack.container:
            lines.append(f"    is built in {stack.container} on GitHub")
        lines.append(f"    publishes to {ws.location('').child(stack.image_name)}")
    return Report(lines=("cache.yaml is right:", *lines))


def docs(folder: Path) -> Report:
    """Write the reference pages and schemas that come from the code."""
    files = tuple(reference(task_help(PROJECT), workflow_help(PROJECT)))
    for path, data in files:
        write_atomically(folder / path, data)
    return Report(lines=(f"docs: {len(files)} files in {folder}",))

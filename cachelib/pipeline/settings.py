"""The settings themselves: what they mean, and the schema that editors use."""

from __future__ import annotations

import json
from pathlib import Path

from cachelib.model.config import json_schema
from cachelib.pipeline.workspace import Workspace
from cachelib.steps.reports import Report
from cachelib.steps.targets import choose_target
from cachelib.tools.files import write_atomically


def config(ws: Workspace) -> Report:
    """Say what cache.yaml means: it has been checked by being read."""
    lines = []
    for name, stack in ws.settings.stacks.items():
        target = choose_target(stack.targets, ws.machine) or "this machine's own"
        lines.append(f"  {name}: {len(stack.specs)} requests with Spack {stack.spack.version}, target {target}")
        lines.append(f"    publishes to {ws.location('').child(stack.image_name)}")
    return Report(lines=("cache.yaml is right:", *lines))


def write_schema(path: Path) -> Report:
    """Write the JSON Schema of cache.yaml, which editors use."""
    write_atomically(path, (json.dumps(json_schema(), indent=2) + "\n").encode())
    return Report(lines=(f"wrote {path}",))

"""Reads Invoke's tasks: what they are called, say and take."""

from __future__ import annotations

from pathlib import Path

from invoke.collection import Collection
from invoke.loader import FilesystemLoader

from cachelib.model.reference import Flag, TaskHelp


def task_help(project: Path) -> tuple[TaskHelp, ...]:
    """All tasks of a project's tasks.py, by name.

    Loaded anew: reading a task's arguments takes the helps out of it (invoke, Task.get_arguments).
    """
    module, _ = FilesystemLoader(start=str(project)).load("tasks")
    collection = Collection.from_module(module)
    return tuple(
        TaskHelp(
            name=name,
            help=(collection[name].__doc__ or "").strip(),
            flags=tuple(
                Flag(
                    name="--" + (argument.name or "").replace("_", "-"),
                    help=str(argument.help or ""),
                    default=str(argument.default) if isinstance(argument.default, str | int) and argument.default else "",
                )
                for argument in collection[name].get_arguments()
            ),
        )
        for name in sorted(collection.task_names)
    )

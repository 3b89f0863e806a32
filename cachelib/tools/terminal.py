"""A live bar on a terminal. A module of its own, as what it needs takes a tenth of a second to load."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from cachelib.model.text import printable


class TerminalProgress:
    """A bar that lives below the lines of the step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rich: RichProgress | None = None
        self._task: TaskID | None = None

    def start(self, what: str, total: int) -> None:
        """A step begins."""
        self.finish()
        if not total:
            return
        self._rich = RichProgress(
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            TextColumn("{task.fields[item]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._task = self._rich.add_task(escape(what), total=total, item="")
        self._rich.start()

    def advance(self, item: str) -> None:
        """One item is done."""
        if self._rich is not None and self._task is not None:
            self._rich.update(self._task, advance=1, item=escape(printable(item)[:60]))

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        self._console.print(escape(printable(line)), highlight=False)

    def finish(self) -> None:
        """The step is over; the bar goes."""
        if self._rich is not None:
            self._rich.stop()
            self._rich = self._task = None

"""Tells a person how far a step is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from cachelib.model.text import printable

#: Without a terminal, a step that says nothing else says how far it is after this many seconds.
_SECONDS = 5.0


class PlainProgress:
    """Lines, for logs: that a step began, and every few seconds how far it is."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._done = 0
        self._said = 0.0

    def start(self, what: str, total: int) -> None:
        """A step begins."""
        self._total, self._done = total, 0
        if total:
            self.say(f"{what}: {total}")

    def advance(self, item: str) -> None:
        """One item is done."""
        self._done += 1
        if time.monotonic() - self._said >= _SECONDS:
            self.say(f"[{self._done}/{self._total}] {item}")

    def say(self, line: str) -> None:
        """A line of its own."""
        self._said = time.monotonic()
        print(printable(line), file=self._out, flush=True)

    def finish(self) -> None:
        """The step is over."""


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


def make_progress(out: TextIO, ci: bool) -> PlainProgress | TerminalProgress:
    """A bar on a terminal; lines in CI, in pipes and in files."""
    if out.isatty() and not ci:
        return TerminalProgress(Console(file=out))
    return PlainProgress(out)

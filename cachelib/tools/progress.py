"""Tells a person how far a step is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

from cachelib.model.ports import Progress
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


def make_progress(out: TextIO, ci: bool) -> Progress:
    """A bar on a terminal; lines in CI, in pipes and in files."""
    if out.isatty() and not ci:
        from rich.console import Console

        from cachelib.tools.terminal import TerminalProgress

        return TerminalProgress(Console(file=out))
    return PlainProgress(out)

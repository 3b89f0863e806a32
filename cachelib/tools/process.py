"""Runs programs: arguments as a list, never through a shell; output line by line; ended with us."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cachelib.model.errors import CacheError

_M_ARENA_MAX = -8  # malloc.h
#: Lines of output that are kept for an error message, and the characters of all of them.
KEPT_LINES, KEPT_TEXT = 2000, 16 * 1024 * 1024
#: Characters of a line; one that is longer comes in pieces, each a line of its own. The longest command lines of compilers fit.
LONGEST_LINE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended: its exit code and the last lines it printed."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program to its end and give its output, both streams as they come. Raise CacheError if it can't start.

    The program gets a process group of its own, which is ended with it when this process is interrupted.
    """
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CacheError(f"{command[0]} can't be started: {error.strerror}", hint=f"is {command[0]} installed?") from None
    lines, size = deque[str](), 0
    with process:
        try:
            for line in _lines(process.stdout):
                lines.append(line)
                size += len(line)
                while len(lines) > KEPT_LINES or size > KEPT_TEXT:
                    size -= len(lines.popleft())
                if on_line is not None:
                    on_line(line)
            return Finished(code=process.wait(), lines=tuple(lines))
        except BaseException:
            _end(process)
            raise


def _lines(stream: IO[str] | None) -> Iterator[str]:
    """The lines of a stream without their ends, as they come; a program may print gigabytes and never end a line."""
    cut = False
    while stream is not None and (piece := stream.readline(LONGEST_LINE)):
        if not (cut and piece == "\n"):
            yield piece.rstrip("\n")
        cut = not piece.endswith("\n")


def prepare_process() -> None:
    """Make a closed terminal and a cancelled job (SIGHUP, SIGTERM) end as Ctrl-C does, with the programs that were started.

    Let a terminal that lacks a character show `?` for it. And keep the threads' memory together: glibc gives each of them
    an arena of its own, and what is freed there stays there (mallopt(3), M_ARENA_MAX); other C libraries have no such thing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # what nohup has us ignore stays ignored
            signal.signal(number, signal.default_int_handler)


def _end(process: subprocess.Popen[str]) -> None:
    """End the whole group: ask, wait, insist."""
    for sent, seconds in ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, sent)
            process.wait(timeout=seconds)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue

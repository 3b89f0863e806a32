"""Runs programs: arguments as a list, never through a shell; output line by line; ended with us."""

from __future__ import annotations

import codecs
import ctypes
import io
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cachelib.model.errors import CacheError

_M_ARENA_MAX = -8  # malloc.h
#: Lines of output, and characters, that are kept for an error message.
KEPT_LINES, KEPT_TEXT = 2000, 4 * 1024 * 1024
#: A line that is longer (characters) comes in pieces; so many bytes are read at once; and so often (seconds) is looked whether it ended.
LONGEST_LINE, _PIECE, _LOOK = 65_536, 65_536, 1.0
_END = re.compile(r"\r\n|\n|\r(?!$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended: its exit code and the last lines it printed."""

    code: int
    lines: tuple[str, ...]
    #: Whether it was ended, as its time was over.
    timed_out: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    until: float = math.inf,
) -> Finished:
    """Run a program to its end and give its output, both streams as they come. Raise CacheError if it can't start.

    The program gets a process group of its own, which is ended with it when this process is interrupted, and when the monotonic clock
    says `until` (seconds).
    """
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CacheError(f"{command[0]} can't be started: {error.strerror}", hint=f"is {command[0]} installed?") from None
    kept, size = deque[str](), 0
    with process:
        try:
            for line in _lines(process, until):
                kept.append(line)
                size += len(line)
                while len(kept) > KEPT_LINES or size > KEPT_TEXT:
                    size -= len(kept.popleft())
                if on_line is not None:
                    on_line(line)
            timed_out = False
            try:
                # It may have closed its output, and go on.
                process.wait(timeout=None if until == math.inf else max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                timed_out = True
                _end(process)
            return Finished(code=process.wait(), lines=tuple(kept), timed_out=timed_out)
        except BaseException:
            _end(process)
            raise


def _lines(process: subprocess.Popen[bytes], until: float) -> Iterator[str]:
    """What a program says, line by line, up to its end or to a moment of the monotonic clock. An endless line comes in pieces."""
    assert process.stdout is not None  # noqa: S101 - as Popen was asked for it
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0:
            there = selector.select(min(left, _LOOK))
            if process.poll() is not None:
                # What a program left behind may hold the stream open, and talk, for ever; nobody waits for that. Its own last words
                # may have come just now.
                until = min(until, time.monotonic() + _LOOK)
                there = there or selector.select(0)
                if not there:
                    break
            if not there:
                continue
            data = os.read(process.stdout.fileno(), _PIECE)
            # As in universal newlines: what draws a bar with carriage returns says a line each time.
            *lines, rest = _END.split(rest + decoder.decode(data, final=not data))
            for line in lines:
                yield from _pieces(line)
            if not data:
                break
            if len(rest) > LONGEST_LINE:
                *whole, rest = _pieces(rest)
                yield from whole
    if rest:
        yield from _pieces(rest.removesuffix("\r"))


def _pieces(line: str) -> list[str]:
    return [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)] or [""]


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


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: ask, wait, insist."""
    for sent, seconds in ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, sent)
            process.wait(timeout=seconds)
            break
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    # What it had started may not have listened.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)

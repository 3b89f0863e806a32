"""Cancelling and killing: a run, the members of a matrix, one worker in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path


class Control:
    """What can be cancelled: a run, a called workflow, a job. Cancelling goes down; what is killed says nothing more."""

    def __init__(self, parent: Control | None = None, name: str = "") -> None:
        self.name, self.cancelled, self.killed = name, False, ""
        self._children: list[Control] = []
        self._lock = threading.Lock()
        self._process: Process | None = None
        if parent:
            with parent._lock:
                parent._children.append(self)

    def cancel(self) -> None:
        """Cancel it and all below it: a running step is interrupted, later ones run if they ask for `always()`."""
        with self._lock:
            self.cancelled, children, process = True, list(self._children), self._process
        for child in children:
            child.cancel()
        if process:
            process.stop("cancelled")

    def kill(self, conclusion: str) -> None:
        """As if the machine were gone: SIGKILL to the step, and no step after it, whatever it asks for."""
        with self._lock:
            self.killed, process = conclusion, self._process
        if process:
            process.kill()

    @contextlib.contextmanager
    def holding(self, process: Process) -> Iterator[None]:
        """While a process runs, it is what gets the blow."""
        with self._lock:
            self._process = process
        if self.killed:
            process.kill()
        elif self.cancelled and not process.after_cancel:
            process.stop("cancelled")
        try:
            yield
        finally:
            with self._lock:
                self._process = None


class Process:
    """A step's program in a process group of its own, read line by line."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], grace: tuple[float, float], after_cancel: bool) -> None:
        self.stopped, self.after_cancel = "", after_cancel
        self._grace = grace
        self._popen = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )

    def wait(self, read: Callable[[bytes], None], seconds: float | None) -> int:
        """Read to the end; its exit code. Past its time it is stopped."""
        reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        reader.start()
        timer = threading.Timer(seconds, self.stop, ("timed out",)) if seconds is not None else None
        if timer:
            timer.daemon = True
            timer.start()
        code = self._popen.wait()
        if timer:
            timer.cancel()
        # The runner waits 5 seconds for who inherited the pipe and lives on.
        reader.join(timeout=5)
        return code

    def _read(self, read: Callable[[bytes], None]) -> None:
        pipe = self._popen.stdout
        assert pipe is not None
        rest = b""
        with pipe:
            while data := os.read(pipe.fileno(), 65536):
                rest += data
                cut = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, -1)) + 1
                if cut:
                    read(rest[:cut])
                    rest = rest[cut:]
            if rest:
                read(rest)

    def stop(self, why: str) -> None:
        """SIGINT to the program alone, then SIGTERM, then SIGKILL to all of the group: as the runner does."""
        if not self.stopped:
            self.stopped = why
            threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        for number, seconds in zip((signal.SIGINT, signal.SIGTERM), self._grace, strict=True):
            self._popen.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=seconds)
                break
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all of the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)


def end_orphans(mark: str) -> None:
    """Kill what a job left running: the runner knows its own by a variable in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


class Groups:
    """Concurrency groups: one job of a group at a time, the others in the order in which they came."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[object]] = {}
        self._turn = threading.Condition()

    @contextlib.contextmanager
    def turn(self, group: str, given_up: Callable[[], bool]) -> Iterator[bool]:
        """Wait for one's turn; whether it came, or one gave up before."""
        if not group:
            yield True
            return
        ticket = object()
        with self._turn:
            queue = self._queues.setdefault(group.lower(), deque())
            queue.append(ticket)
            while queue[0] is not ticket and not given_up():
                self._turn.wait(timeout=0.05)
            came = queue[0] is ticket
        try:
            yield came
        finally:
            with self._turn:
                queue.remove(ticket)
                self._turn.notify_all()

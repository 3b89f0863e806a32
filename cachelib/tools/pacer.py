"""Keeps requests below what a registry allows, and has all threads wait when it says that they were too many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Requests a second that a registry is known to allow: ghcr.io answers 429 past about 2,000 a minute.
KNOWN_LIMITS = {"ghcr.io": 32.5}


class Pacer:
    """Hands out moments at which a request may start: evenly spaced, so that no window of any length holds too many."""

    def __init__(
        self,
        per_second: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = lambda seconds: threading.Event().wait(seconds),
    ) -> None:
        self._interval = 1.0 / per_second if per_second else 0.0
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = 0.0
        self._holds = 0

    def wait(self) -> None:
        """Wait for the next moment; none is handed out twice, and none that was handed out before a hold counts after it."""
        while True:
            with self._lock:
                now, holds = self._clock(), self._holds
                start = max(now, self._next)
                # Without a limit only a hold makes anybody wait.
                self._next = start + self._interval if self._interval else self._next
            if start > now:
                self._sleep(start - now)
            with self._lock:
                if holds == self._holds:
                    return

    def hold(self, seconds: float) -> None:
        """Have everybody wait so long: the registry asked one for it and meant all."""
        with self._lock:
            self._holds += 1
            self._next = max(self._next, self._clock() + seconds)


def limit_of(host: str, configured: float) -> float:
    """Requests a second for a registry: as configured, else as known; 0 is no limit."""
    return configured or KNOWN_LIMITS.get(host, 0.0)

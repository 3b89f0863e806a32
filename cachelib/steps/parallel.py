"""Threads for requests: as many as are asked for, and none of them in the way of a Ctrl-C."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Results that may wait for their turn: ten thousand of them at once would be a matter of memory.
WAITING = 256


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads. Whatever ends the block early throws away what has not begun, instead of waiting for all of it."""
    pool = ThreadPoolExecutor(max_workers=count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def in_order(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, Future[R]]]:
    """Call a function for each item in the pool; give the futures, done, in the order of the items."""
    running: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        running.append((item, pool.submit(function, item)))
        if len(running) >= WAITING:
            yield _settled(running.popleft())
    while running:
        yield _settled(running.popleft())


def _settled(pair: tuple[T, Future[R]]) -> tuple[T, Future[R]]:
    pair[1].exception()  # waits
    return pair

"""The pace of requests, by a clock that nobody has to wait for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from cachelib.tools.pacer import KNOWN_LIMITS, Pacer, limit_of


class FakeClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class StillClock(FakeClock):
    """Time that stands: what is slept is when one would have begun."""

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def pacer(clock: FakeClock, per_second: float = 0.0) -> Pacer:
    return Pacer(per_second, clock=clock, sleep=clock.sleep)


@pytest.mark.parametrize(("per_second", "count"), [(1, 2), (10, 101), (32, 1000), (0.5, 7)])
def test_so_many_requests_take_their_time(per_second: float, count: int) -> None:
    clock = FakeClock()
    pace = pacer(clock, per_second)
    starts = []
    for _ in range(count):
        pace.wait()
        starts.append(clock.now)
    assert clock.now - 100 == pytest.approx((count - 1) / per_second)
    assert [later - sooner for sooner, later in pairwise(starts)] == pytest.approx([1 / per_second] * (count - 1))


def test_no_window_of_a_minute_holds_too_many() -> None:
    """Not even after a rest: what was not used is not saved up."""
    clock = FakeClock()
    pace = pacer(clock, KNOWN_LIMITS["ghcr.io"])
    starts = []
    for at in range(6000):
        clock.now += 500 if at == 2500 else 0
        pace.wait()
        starts.append(clock.now)
    assert max(sum(1 for start in starts[at:] if start < starts[at] + 60) for at in range(0, 6000, 97)) <= 2000


def test_without_a_limit_nobody_waits() -> None:
    clock = FakeClock()
    pace = pacer(clock)
    for _ in range(1000):
        pace.wait()
    assert clock.slept == []


def test_work_between_requests_is_not_waited_for_again() -> None:
    clock = FakeClock()
    pace = pacer(clock, 10)
    for _ in range(5):
        pace.wait()
        clock.now += 0.25
    assert clock.slept == []


@pytest.mark.parametrize("per_second", [0, 4])
def test_a_hold_delays_everyone(per_second: float) -> None:
    clock = StillClock()
    pace = pacer(clock, per_second)
    pace.hold(30)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(pace.wait)
    assert len(clock.slept) == 40
    assert min(clock.slept) == pytest.approx(30)
    # Whoever waits begins at the pace, and not all at once when the hold ends.
    expected = [30 + at / per_second for at in range(40)] if per_second else [30.0] * 40
    assert sorted(clock.slept) == pytest.approx(expected)


def test_a_hold_passes_and_a_shorter_one_changes_nothing() -> None:
    clock = FakeClock()
    pace = pacer(clock)
    pace.hold(30)
    pace.hold(5)
    pace.wait()
    assert clock.slept == [30]
    pace.wait()
    clock.now += 100
    pace.wait()
    assert clock.slept == [30]


def test_a_hold_delays_those_who_wait_already() -> None:
    clock = FakeClock()

    def sleep(seconds: float) -> None:
        first = not clock.slept
        clock.sleep(seconds)
        if first:
            pace.hold(60)  # another thread's answer was a 429 meanwhile

    pace = Pacer(1, clock=clock, sleep=sleep)
    pace.wait()
    pace.wait()
    assert clock.now >= 100 + 1 + 60


def test_no_moment_is_handed_out_twice() -> None:
    clock = StillClock()
    pace = pacer(clock, 50)
    ready = threading.Barrier(16)

    def ask() -> None:
        ready.wait()
        for _ in range(100):
            pace.wait()

    with ThreadPoolExecutor(16) as pool:
        for _ in range(16):
            pool.submit(ask)
    # The first of all did not wait.
    assert sorted(clock.slept) == pytest.approx([at / 50 for at in range(1, 1600)])


@pytest.mark.parametrize(
    ("host", "configured", "limit"), [("ghcr.io", 0, 32.5), ("ghcr.io", 5, 5), ("example.org", 0, 0), ("example.org", 7, 7)]
)
def test_the_limit_of_a_registry(host: str, configured: float, limit: float) -> None:
    assert limit_of(host, configured) == limit


def test_the_real_clock() -> None:
    began, pace = time.monotonic(), Pacer(200)
    for _ in range(3):
        pace.wait()
    pace.hold(0.05)
    pace.wait()
    assert time.monotonic() - began >= 2 / 200 + 0.05

"""A clock that is set while a run is under way."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.record import clock
from lossmeter.record.clock import JUMP_S, ClockWatch, difference_ns


class Clocks:
    """Two clocks that can be moved."""

    def __init__(self) -> None:
        self.wall = self.monotonic = 10**18
        self.look_ns = 1000

    def time_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        self.monotonic += self.look_ns
        self.wall += self.look_ns
        return self.monotonic


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(clock, "time", made)
    return made


def _looked(between: Callable[[], None]) -> float:
    watch = ClockWatch()
    watch.look()
    between()
    watch.look()
    return watch.jump_ns / 1e9


@pytest.mark.parametrize("by_s", [0.06, -0.06, 3600.0])
def test_a_clock_that_is_set_has_jumped(clocks: Clocks, by_s: float) -> None:
    def jump() -> None:
        clocks.wall += int(by_s * 1e9)

    assert _looked(jump) == pytest.approx(abs(by_s), abs=0.001)
    assert _looked(jump) > JUMP_S


def test_a_jump_there_and_back_is_seen(clocks: Clocks) -> None:
    watch = ClockWatch()
    for by_ns in (0, 10**9, -(10**9)):
        clocks.wall += by_ns
        watch.look()
    assert watch.jump_ns >= 10**9 - 10**6


def test_time_that_passes_is_no_jump(clocks: Clocks) -> None:
    def wait() -> None:
        clocks.monotonic += 10**12
        clocks.wall += 10**12

    assert _looked(wait) < JUMP_S


def test_a_look_that_was_interrupted_shows_nothing(clocks: Clocks) -> None:
    clocks.look_ns = 10**9
    assert _looked(lambda: None) == 0


def test_the_clocks_of_this_machine_go_together() -> None:
    watch = ClockWatch()
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        watch.look()
    assert watch.jump_ns / 1e9 < JUMP_S


@given(
    ahead_ns=st.integers(-(10**12), 10**12),
    ways_ns=st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)), min_size=1),
)
def test_another_clock_is_read_through_whatever_delay(
    ahead_ns: int, ways_ns: list[tuple[int, int]]
) -> None:
    looks = []
    for out_ns, back_ns in ways_ns:
        asked_ns, answered_ns = 0, out_ns + back_ns
        there_ns = asked_ns + out_ns + ahead_ns
        looks.append((answered_ns - asked_ns, there_ns - (asked_ns + answered_ns) // 2))
    quickest_ns = min(took_ns for took_ns, _ in looks)
    # Half of the quickest look is all that it can be wrong by, and a nanosecond by halving.
    assert abs(difference_ns(looks) - ahead_ns) <= quickest_ns + 1
    if abs(ahead_ns) > quickest_ns + 1:
        assert abs(difference_ns(looks) - ahead_ns) <= quickest_ns // 2 + 1


def test_clocks_that_agree_are_left_alone() -> None:
    assert difference_ns([(1000, 400), (50_000, -20_000)]) == 0
    assert difference_ns([(1000, 600)]) == 600
    assert difference_ns([]) == 0

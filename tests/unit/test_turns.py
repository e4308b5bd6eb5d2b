"""When a cell may begin beside others: as --jobs says, and as far as the CPU has headroom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lossmeter.commands import _turns
from lossmeter.commands._turns import CORES_FOR_A_CELL, StoppedError, Turn, Turns, at_once_of
from lossmeter.errors import UsageError
from lossmeter.world import headroom
from lossmeter.world.headroom import Headroom, cores, idle_seconds
from tests.support.program import until

SOON_S = 0.3


class Taker:
    """Takes a turn in a thread of its own and keeps it until it is let go."""

    def __init__(self, take: Callable[[], AbstractContextManager[Turn]]) -> None:
        self.turn: Turn | None = None
        self.stopped = False
        self._let_go = threading.Event()
        self._take = take
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._take() as self.turn:
                self._let_go.wait(20)
        except StoppedError:
            self.stopped = True

    def has_it(self) -> bool:
        return self.turn is not None

    def end(self) -> None:
        self._let_go.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "SPAN_S", 0.0)
    monkeypatch.setattr(_turns, "LOOK_EVERY_S", 0.01)


def test_the_first_begins_whatever_the_cpu_does_and_others_wait_for_headroom() -> None:
    idle = 0.0
    turns = Turns(lambda: idle)
    first = Taker(turns.beside)
    until(first.has_it, 5)
    second = Taker(turns.beside)
    time.sleep(SOON_S)
    assert not second.has_it()
    idle = CORES_FOR_A_CELL
    until(second.has_it, 5)
    assert first.turn is not None
    assert first.turn.shared
    first.end()
    second.end()


def test_what_is_not_known_is_no_headroom() -> None:
    turns = Turns(lambda: None)
    first = Taker(turns.beside)
    until(first.has_it, 5)
    second = Taker(turns.beside)
    time.sleep(SOON_S)
    assert not second.has_it()
    first.end()
    until(second.has_it, 5)
    second.end()
    assert second.turn is not None
    assert not second.turn.shared, "the first was over by then"


def test_a_run_that_has_just_begun_is_in_what_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_turns, "SPAN_S", 1.0)
    turns = Turns(lambda: 64.0)
    first = Taker(turns.beside)
    until(first.has_it, 5)
    begin = time.monotonic()
    second = Taker(turns.beside)
    until(second.has_it, 5)
    assert time.monotonic() - begin > 0.9
    first.end()
    second.end()


def test_who_wants_to_be_alone_is_waited_for_and_has_nobody_beside() -> None:
    turns = Turns(lambda: 64.0)
    first = Taker(turns.beside)
    until(first.has_it, 5)
    alone = Taker(turns.alone)
    time.sleep(SOON_S)
    later = Taker(turns.beside)
    clearing = Taker(turns.clearing)
    time.sleep(SOON_S)
    assert not alone.has_it()
    assert not later.has_it(), "or who wants to be alone would wait for ever"
    first.end()
    until(alone.has_it, 5)
    time.sleep(SOON_S)
    assert not later.has_it()
    assert not clearing.has_it()
    alone.end()
    until(later.has_it, 5)
    until(clearing.has_it, 5)
    assert alone.turn is not None
    assert not alone.turn.shared
    again = Taker(turns.alone)
    time.sleep(SOON_S)
    later.end()
    time.sleep(SOON_S)
    assert not again.has_it(), "servers that are being stopped take CPU as well"
    clearing.end()
    until(again.has_it, 5)
    again.end()


def test_when_all_is_stopped_nobody_gets_a_turn_and_clearing_up_goes_on() -> None:
    turns = Turns(lambda: 0.0)
    first = Taker(turns.beside)
    until(first.has_it, 5)
    waiting = [Taker(turns.beside), Taker(turns.alone)]
    time.sleep(SOON_S)
    turns.stopped = True
    for each in waiting:
        until(lambda each=each: each.stopped, 5)
    clearing = Taker(turns.clearing)
    until(clearing.has_it, 5)
    clearing.end()
    first.end()


def test_jobs_are_a_number_or_auto() -> None:
    assert at_once_of("1", "auto") == 1
    assert at_once_of("3", "local") == 3
    assert at_once_of("auto", "auto") == 2 * cores()
    assert at_once_of("1", "kubernetes") == 1


@pytest.mark.parametrize("jobs", ["0", "-1", "x", "", "1.5", "65", "٣", "9" * 400])
def test_anything_else_is_refused(jobs: str) -> None:
    with pytest.raises(UsageError, match="right is a number from 1 to 64, or auto"):
        at_once_of(jobs, "local")


@pytest.mark.parametrize("runtime", ["docker", "kubernetes"])
def test_only_local_cells_run_side_by_side(runtime: str) -> None:
    with pytest.raises(UsageError, match=f"not on {runtime}"):
        at_once_of("2", runtime)


# The headroom itself.


def test_idle_time_is_that_of_the_cpus_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 900 90 0 0 0 0 0\n"
        "cpu0 1 1 1 100 20 0 0 0 0 0\n"
        "cpu1 1 1 1 300 30 0 0 0 0 0\n"
        "cpu12 1 1 1 500 40 0 0 0 0 0\n"
        "intr 5 4 3\n"
    )
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 12})
    assert idle_seconds(stat) == pytest.approx((100 + 20 + 500 + 40) / headroom._TICKS_PER_S)
    assert cores() == 2


def test_headroom_is_measured_over_the_last_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now, idle = 0.0, 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(headroom, "idle_seconds", lambda: idle)
    seen = Headroom()
    assert seen.idle_cores() is None
    # Idle for long, then busy with one of two CPUs, then with both.
    for step, gained in enumerate([1.0] * 20 + [0.5] * 10 + [0.0] * 4):
        now, idle = step * 0.5, idle + gained
        seen.look()
        if step == 1:
            assert seen.idle_cores() is None, "one second is too short"
        if step == 19:
            assert seen.idle_cores() == pytest.approx(2.0)
        if step == 29:
            assert seen.idle_cores() == pytest.approx(1.0)
    assert seen.idle_cores() == pytest.approx(0.0)


def test_this_machine_tells_its_headroom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headroom, "SPAN_S", 0.2)
    seen = Headroom()
    seen.look()
    time.sleep(0.3)
    seen.look()
    idle = seen.idle_cores()
    assert idle is not None
    assert 0 <= idle <= cores() * 1.2

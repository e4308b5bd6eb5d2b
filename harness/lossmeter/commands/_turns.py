"""Whose turn it is: which cells may run beside others now, and which must run alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from lossmeter.errors import UsageError
from lossmeter.world.headroom import SPAN_S, cores

MOST_AT_ONCE = 64
AUTO = "auto"
# The CPUs that a cell of some hundred events a second keeps busy, and some to spare: a run of
# 15 s took 9 s of CPU with its servers, its load and its page.
CORES_FOR_A_CELL = 0.75
# Cells wait for most of their time, so there may be room for more of them than there are CPUs;
# whether there is, is measured.
CELLS_FOR_A_CORE = 2
LOOK_EVERY_S = 0.25

Jobs = Annotated[
    str,
    typer.Option(
        "--jobs",
        metavar="N|auto",
        help="Run up to N cells side by side, each on servers of its own, as long as the CPU has "
        "headroom; auto: for each CPU two. What measures rates or strikes the whole "
        "machine runs alone, and so does again what lacked CPU beside others. Default: 1.",
    ),
]


def at_once_of(jobs: str, runtime: str) -> int:
    """Return how many cells may run at once, as ``--jobs`` says.

    Raises:
        UsageError: it is no such number, or the runtime that was named has none side by side.
    """
    if jobs == AUTO:
        at_once = min(MOST_AT_ONCE, CELLS_FOR_A_CORE * cores())
    elif jobs in {str(number) for number in range(1, MOST_AT_ONCE + 1)}:
        at_once = int(jobs)
    else:
        raise UsageError(f"--jobs is {jobs!r}; right is a number from 1 to {MOST_AT_ONCE}, or auto")
    if jobs != "1" and runtime not in {AUTO, "local"}:
        raise UsageError(
            f"--jobs runs cells side by side on runtime local only, not on {runtime}; "
            "leave it out, or give --runtime local"
        )
    return at_once


class StoppedError(Exception):
    """No further run is to begin."""


@dataclass(eq=False, slots=True)
class Turn:
    """One run that has its turn.

    Attributes:
        shared: another ran beside it for a while.
    """

    shared: bool = False


class Turns:
    """Gives turns, from any thread.

    Whoever waits to be alone comes before those who want to begin beside others, so that each
    wait ends.

    Args:
        idle_cores: how many CPUs were idle over the last seconds; None when that is not known.
    """

    def __init__(self, idle_cores: Callable[[], float | None]) -> None:
        self._idle_cores = idle_cores
        self._changed = threading.Condition()
        self._running: list[Turn] = []
        self._want_alone = 0
        self._last_start = 0.0
        # Plain, since it is set from a signal handler, where no lock may be waited for.
        self.stopped = False

    @contextmanager
    def beside(self) -> Iterator[Turn]:
        """Have a turn beside others, as soon as there is nobody else, or CPU enough.

        Raises:
            StoppedError: no run is to begin any more.
        """
        turn = Turn()
        with self._changed:
            self._wait(lambda: not self._want_alone and (not self._running or self._has_room()))
            self._enter(turn)
        yield from self._held(turn)

    @contextmanager
    def alone(self) -> Iterator[Turn]:
        """Have the machine alone.

        Raises:
            StoppedError: no run is to begin any more.
        """
        turn = Turn()
        with self._changed:
            self._want_alone += 1
        try:
            with self._changed:
                self._wait(lambda: not self._running)
                self._enter(turn)
            yield from self._held(turn)
        finally:
            with self._changed:
                self._want_alone -= 1
                self._changed.notify_all()

    @contextmanager
    def clearing(self) -> Iterator[Turn]:
        """Clear up, which needs no turn, but keeps others from being alone meanwhile."""
        turn = Turn()
        with self._changed:
            while self._want_alone and not self.stopped:
                self._changed.wait(LOOK_EVERY_S)
            self._running.append(turn)
        yield from self._held(turn)

    def _held(self, turn: Turn) -> Iterator[Turn]:
        try:
            yield turn
        finally:
            with self._changed:
                self._running.remove(turn)
                self._changed.notify_all()

    def _enter(self, turn: Turn) -> None:
        self._running.append(turn)
        self._last_start = time.monotonic()
        if len(self._running) > 1:
            for each in self._running:
                each.shared = True

    def _has_room(self) -> bool:
        """Return whether the CPUs have had room since the last run began, that one included."""
        idle = self._idle_cores()
        seen = time.monotonic() - self._last_start >= SPAN_S
        return seen and idle is not None and idle >= CORES_FOR_A_CELL

    def _wait(self, may: Callable[[], bool]) -> None:
        while not self.stopped and not may():
            self._changed.wait(LOOK_EVERY_S)
        if self.stopped:
            raise StoppedError

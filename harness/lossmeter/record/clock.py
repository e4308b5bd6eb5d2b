"""Tells whether the wall clock jumped against the monotonic one.

Times of a run come from the wall clock of several processes; if it was set meanwhile, none
of them says what came first. Standard library only: the load process carries this too.
"""

from __future__ import annotations

import time

# Above what a look can be off, and far below what setting a clock moves it by.
JUMP_S = 0.05

# A look that took longer than this was interrupted between its two clocks, and shows nothing.
_LOOK_NS = 1_000_000
_TRIES = 3


class ClockWatch:
    """Compares the clocks at each look; slow steering by NTP is no jump.

    Attributes:
        jump_ns: the largest change between two looks so far, without its sign.
    """

    def __init__(self) -> None:
        self.jump_ns = 0
        self._offset_ns: int | None = None

    def look(self) -> None:
        """Compare the clocks once."""
        for _ in range(_TRIES):
            before_ns = time.monotonic_ns()
            wall_ns = time.time_ns()
            after_ns = time.monotonic_ns()
            if after_ns - before_ns <= _LOOK_NS:
                self._note(wall_ns - (before_ns + after_ns) // 2)
                return

    def _note(self, offset_ns: int) -> None:
        if self._offset_ns is not None:
            self.jump_ns = max(self.jump_ns, abs(offset_ns - self._offset_ns))
        self._offset_ns = offset_ns


def difference_ns(looks: list[tuple[int, int]]) -> int:
    """Return how far another machine's clock is ahead, by the quickest of several looks.

    Args:
        looks: pairs of how long a look took and what it showed, in nanoseconds.

    A look is off by half of its duration at most; a difference within that is none.
    """
    took_ns, seen_ns = min(looks, default=(0, 0))
    return seen_ns if abs(seen_ns) > took_ns // 2 else 0

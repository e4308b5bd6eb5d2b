"""Many numbers in ascending order, of which only a few have to be in memory.

Pure: where the numbers lie is for the caller to say, by a function that keeps an array and
returns what slices can be taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.int64]

# How many numbers are in memory while parts are merged, all parts together.
_IN_MEMORY = 1 << 18
_LEAST_BLOCK = 512


class Sliced(Protocol):
    """An array of one dimension, wherever it lies."""

    def __len__(self) -> int:
        """Return how many entries it has."""

    def __getitem__(self, part: slice, /) -> npt.NDArray[Any]:
        """Return some of them."""


Keep: TypeAlias = Callable[[npt.NDArray[Any]], Sliced]


def in_memory(array: npt.NDArray[Any]) -> Sliced:
    """Keep an array where it is."""
    return array


class Ascending:
    """Numbers that are added in parts and read back in ascending order.

    Each part is sorted as it comes. Reading merges the parts a block at a time, so what it
    takes is a block for each part, not the numbers.

    Args:
        keep: where the parts lie.
    """

    def __init__(self, keep: Keep = in_memory) -> None:
        self._keep = keep
        self._parts: list[Sliced] = []
        self._length = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, numbers: Numbers) -> None:
        """Take more numbers, in any order."""
        if not len(numbers):
            return
        ordered = np.sort(numbers)
        first, last = int(ordered[0]), int(ordered[-1])
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        self._parts.append(self._keep(ordered))
        self._length += len(ordered)

    def __len__(self) -> int:
        return self._length

    def blocks(self) -> Iterator[Numbers]:
        """Yield all numbers in ascending order, some at a time."""
        block = max(_LEAST_BLOCK, _IN_MEMORY // max(1, len(self._parts)))
        fronts = [_Front(part, block) for part in self._parts]
        while fronts:
            # What is not above the least of the blocks' ends is followed by nothing smaller.
            bound = min(front.end for front in fronts)
            yield np.sort(np.concatenate([front.up_to(bound) for front in fronts]))
            fronts = [front for front in fronts if not front.over]

    def between(self, begin: int, end: int) -> int:
        """Return how many numbers lie from one to another, both included."""
        return sum(_count(part, end, "right") - _count(part, begin, "left") for part in self._parts)

    def at(self, ranks: npt.NDArray[np.intp]) -> Numbers:
        """Return the numbers of some ranks, 0 for the smallest; the ranks ascend."""
        found = np.empty(len(ranks), np.int64)
        begin = place = 0
        for block in self.blocks():
            end = begin + len(block)
            until = int(np.searchsorted(ranks, end))
            found[place:until] = block[ranks[place:until] - begin]
            begin, place = end, until
            if place == len(ranks):
                break
        return found

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Return percentiles, interpolated between neighbours as NumPy does by default.

        Args:
            shares: in per cent.
        """
        every = np.zeros(len(shares), np.intp)
        found: list[float] = percentiles_of(self, shares, every, every + len(self), every).tolist()
        return found


def percentiles_of(
    numbers: Ascending,
    shares: Sequence[float],
    begins: npt.NDArray[np.intp],
    counts: npt.NDArray[np.intp],
    zeros: Numbers,
) -> npt.NDArray[np.float64]:
    """Return one percentile for each range of ranks.

    Args:
        numbers: in their order.
        shares: in per cent, one for each range.
        begins: the first rank of each range.
        counts: how many ranks it has; at least one.
        zeros: what is taken off the numbers of each range.
    """
    exact = begins + (counts - 1) * (np.asarray(shares, np.float64) / 100)
    below = np.floor(exact).astype(np.intp)
    above = np.minimum(below + 1, begins + counts - 1)
    ranks, place = np.unique(np.concatenate([below, above]), return_inverse=True)
    # Taken off while they are whole: large ones would lose digits as floats.
    low, high = (each - zeros for each in np.split(numbers.at(ranks)[place], 2))
    return np.asarray(low + (high - low) * (exact - below), np.float64)


class _Front:
    """How far one part has been read."""

    def __init__(self, part: Sliced, length: int) -> None:
        self._part = part
        self._length = length
        self._at = 0
        self._block: Numbers = np.empty(0, np.int64)
        self._fill()

    @property
    def end(self) -> int:
        """Return the last number that is in memory."""
        return int(self._block[-1])

    @property
    def over(self) -> bool:
        """Return whether all numbers have been taken."""
        return not len(self._block)

    def up_to(self, bound: int) -> Numbers:
        """Take the numbers in memory that are not above a bound."""
        count = int(np.searchsorted(self._block, bound, side="right"))
        taken, self._block = self._block[:count], self._block[count:]
        if not len(self._block):
            self._fill()
        return taken

    def _fill(self) -> None:
        self._block = self._part[self._at : self._at + self._length]
        self._at += len(self._block)


def _count(part: Sliced, bound: int, side: str) -> int:
    """Return how many numbers of an ordered part are below a bound, or not above it."""
    low, high = 0, len(part)
    while low < high:
        middle = (low + high) // 2
        number = int(part[middle : middle + 1][0])
        if number < bound or (side == "right" and number == bound):
            low = middle + 1
        else:
            high = middle
    return low

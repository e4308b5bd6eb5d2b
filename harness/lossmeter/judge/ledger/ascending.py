"""Many numbers in ascending order, of which only a few have to be in memory.

Pure: where the numbers lie is for the caller to say, by a function that keeps an array and
returns what slices can be taken of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.int64]
Side: TypeAlias = Literal["left", "right"]

# How many numbers are in memory while parts are merged, all parts together.
_IN_MEMORY = 1 << 18
_LEAST_BLOCK = 512
# How many numbers of a part lie from one of its sample to the next.
_EVERY = 1024


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


class Span:
    """The smallest and the largest of numbers that are added in parts; None without any."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None

    def add(self, numbers: Numbers) -> None:
        """Take more numbers."""
        if not len(numbers):
            return
        first, last = int(numbers.min()), int(numbers.max())
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


class Ascending(Span):
    """Numbers that are added in parts and read back in ascending order.

    Each part is sorted as it comes. Reading merges the parts a block at a time, so what it
    takes is a block for each part, not the numbers.
    """

    def __init__(self, keep: Keep = in_memory) -> None:
        super().__init__()
        self._keep = keep
        self._parts: list[Sliced] = []
        # Of each part every so many'th number, to know without reading where to look.
        self._samples: list[Numbers] = []
        self._length = 0

    def add(self, numbers: Numbers) -> None:
        """Take more numbers, in any order."""
        if not len(numbers):
            return
        ordered = np.array(numbers)
        if (ordered[1:] < ordered[:-1]).any():
            ordered.sort()
        super().add(ordered[[0, -1]])
        self._parts.append(self._keep(ordered))
        self._samples.append(ordered[::_EVERY].copy())
        self._length += len(ordered)

    def __len__(self) -> int:
        return self._length

    def blocks(self, around: int | None = None, before: int = 0) -> Iterator[Numbers]:
        """Yield all numbers in ascending order, some at a time.

        Args:
            around: leave out what comes long before this number.
            before: of the numbers below it so many come, and maybe others that are smaller.
        """
        block = max(_LEAST_BLOCK, _IN_MEMORY // max(1, len(self._parts)))
        begins = [0] * len(self._parts)
        if around is not None:
            begins = [max(0, begin - before) for begin in self._below(around, "left")]
        fronts = [_Front(*each, block) for each in zip(self._parts, begins, strict=True)]
        fronts = [front for front in fronts if not front.over]
        while fronts:
            # What is not above the least of the blocks' ends is followed by nothing smaller.
            bound = min(front.end for front in fronts)
            yield np.sort(np.concatenate([front.up_to(bound) for front in fronts]))
            fronts = [front for front in fronts if not front.over]

    def stretches(self) -> Iterator[Numbers]:
        """Yield all numbers, some at a time: each time in ascending order, but in none together."""
        for part in self._parts:
            for begin in range(0, len(part), _IN_MEMORY):
                yield part[begin : begin + _IN_MEMORY]

    def between(self, begin: int, end: int) -> int:
        """Return how many numbers lie from one to another, both included."""
        return sum(self._below(end, "right")) - sum(self._below(begin, "left"))

    def _below(self, bound: int, side: Side) -> list[int]:
        """Return for each part how many numbers are below a bound, or for "right" not above it."""
        counts = []
        for part, sample in zip(self._parts, self._samples, strict=True):
            # The last number of the sample that counts is followed by less than a step of others.
            begin = max(0, int(sample.searchsorted(bound, side)) - 1) * _EVERY
            stretch = part[begin : begin + _EVERY]
            counts.append(begin + int(stretch.searchsorted(bound, side)))
        return counts

    def at(self, ranks: npt.NDArray[np.intp]) -> Numbers:
        """Return the numbers of some ranks, 0 for the smallest; the ranks ascend."""
        # To find one, some steps of each part are read.
        if len(ranks) * 4 * len(self._parts) * _EVERY < self._length:
            sample = np.sort(np.concatenate(self._samples))
            return np.array([self._found(rank, sample) for rank in ranks.tolist()], np.int64)
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

    def _found(self, rank: int, sample: Numbers) -> int:
        """Return the number of one rank.

        Below the n-th number of the sample are at most n steps of numbers; and up to it are at
        least n - 1 steps, but for what lies between two numbers of the sample in each part.
        """
        low = int(sample[rank // _EVERY])
        above = (rank + len(self._parts) * (_EVERY - 1)) // _EVERY + 1
        high = int(sample[above]) if above < len(sample) else int(self.last or 0)
        begins, ends = self._below(low, "right"), self._below(high, "left")
        # Of equal numbers there may be any number, so those at both ends are counted, not read.
        at = rank - sum(begins)
        if at < 0 or low == high:
            return low
        if at >= sum(ends) - sum(begins):
            return high
        each = zip(self._parts, begins, ends, strict=True)
        within = np.concatenate([part[begin:end] for part, begin, end in each])
        return int(np.partition(within, at)[at])

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Return percentiles, interpolated between neighbours as NumPy does by default."""
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

    def __init__(self, part: Sliced, begin: int, length: int) -> None:
        self._part = part
        self._length = length
        self._at = begin
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

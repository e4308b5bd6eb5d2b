"""Gives each event a place in dense arrays, with guards for ids that were never minted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Self

import numpy as np
import numpy.typing as npt

from lossmeter.errors import LedgerError
from lossmeter.model import plural
from lossmeter.record.arrays import PAIR, Records

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Ranks = npt.NDArray[np.uint32]

# Small enough that what is made of one chunk stays in the processor's cache.
CHUNK = 1 << 16

# In arrays of ranks and indices: there is none.
NOWHERE = np.uint32(0xFFFFFFFF)

# An id space much larger than its events would mean a gap, that is a broken journal.
_LARGEST_GAP = 4
_SLACK = 4096


class Space:
    """Gives each event of the intents a place in ``range(size)``, producer by producer.

    Raises:
        LedgerError: the ids have large gaps.
    """

    def __init__(self, events: int, lengths: npt.NDArray[np.int64], first: int = 0) -> None:
        check_dense(int(lengths.sum()), events, "ids")
        self.bases = np.zeros(len(lengths) + 1, np.intp)
        self.bases[1:] = np.cumsum(lengths)
        self._edges: list[int] = [int(base) for base in self.bases]
        self.size = self._edges[-1]
        self._lengths = lengths
        self._first = first

    @classmethod
    def of(cls, intents: Records, first: int = 0) -> Self:
        """Return the space of the intents, whose producers are numbered from ``first`` on."""
        producers, sequences = intents["producer"], intents["sequence"]
        count = int(producers.max()) + 1 - first if len(intents) else 0
        largest = int(sequences.max()) if count else 0
        check_dense(count, len(intents), "producers")
        check_dense(largest, len(intents), "sequences")
        lengths = np.zeros(count, np.int64)
        for part in chunks(len(intents)):
            index = producers[part].astype(np.int64) - first
            np.maximum.at(lengths, index, sequences[part].astype(np.int64) + 1)
        return cls(len(intents), lengths, first)

    def places(self, ids: Records) -> Places:
        """Return the place of each id; -1 for those that were never minted."""
        if not len(self._lengths):
            return np.full(len(ids), -1, np.intp)
        producers = ids["producer"].astype(np.int64) - self._first
        sequences = ids["sequence"].astype(np.int64)
        # As numbers without a sign, what is below 0 is above every bound.
        known = producers.view(np.uint64) < len(self._lengths)
        if not known.all():
            np.putmask(producers, ~known, 0)
        known &= sequences.view(np.uint64) < self._lengths.view(np.uint64)[producers]
        places: Places = self.bases[producers] + sequences
        if not known.all():
            np.putmask(places, ~known, -1)
        return places

    def ids(self, places: Places) -> Records:
        """Return the ids of places."""
        pairs = np.empty(len(places), PAIR)
        producers = self.producers(places)
        pairs["producer"] = producers + self._first
        pairs["sequence"] = places - self.bases[producers]
        return pairs

    def producers(self, places: Places) -> Places:
        """Return the producers of places, counted from the first."""
        return np.asarray(np.searchsorted(self.bases, places, side="right") - 1, np.intp)

    def slices(self) -> Iterator[slice]:
        """Yield the places of each producer that has any."""
        for begin, end in itertools.pairwise(self._edges):
            if end > begin:
                yield slice(begin, end)


def largest_dense(events: int) -> int:
    """Return the largest number that ids of so many events may reach."""
    return _LARGEST_GAP * events + _SLACK


def check_dense(largest: int, events: int, what: str) -> None:
    """Raise when a number is far above what so many events without gaps can reach."""
    if largest > largest_dense(events):
        raise LedgerError(
            f"the journals hold {plural(events, 'event')} but {what} up to {largest}; "
            "ids must be minted without gaps"
        )


def chunks(length: int) -> Iterator[slice]:
    """Yield slices that cover ``range(length)``; the last may reach beyond it."""
    for begin in range(0, length, CHUNK):
        yield slice(begin, begin + CHUNK)


def indices(part: slice, length: int) -> Ranks:
    """Return the numbers that a slice of ``range(length)`` covers."""
    return np.arange(part.start, min(part.stop, length), dtype=np.uint32)

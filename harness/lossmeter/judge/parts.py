"""The records of a run, so many producers at a time as fit into memory together.

Every class of the ledger looks at one event, or at two events of the same producer, so a
part can be judged by itself. A run of few events is one part, read as it lies there. The
records of a larger one are first dealt out to its parts, in a temporary file on the disk of
its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.ascending import Keep, in_memory
from lossmeter.judge.ledger.space import check_dense
from lossmeter.record import npy
from lossmeter.record.arrays import Held, Operations, Records, taken
from lossmeter.record.collected import ARRAYS, DTYPES, LATER, Collected
from lossmeter.record.facts import Facts
from lossmeter.record.journal_format import INTENT
from lossmeter.record.journals import (
    RECORD_DTYPE,
    Heads,
    intents_in,
    most_events,
    outcomes_in,
    read_journals,
    scan_records,
)
from lossmeter.record.spill import Kept, Spill, joined, open_spill
from lossmeter.record.whole import FOREIGN

# Events of a part. What judging one takes is some 200 bytes for each.
PART_EVENTS = 250_000

_Numbers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of the events of some producers.

    Attributes:
        operations: what they were given.
        held: what the target holds of them; rows that nobody sent are in one of the parts.
            It is empty where nothing was collected.
    """

    first: int
    operations: Operations
    held: Held


@dataclass(frozen=True, slots=True)
class Parts:
    """A run in parts.

    Attributes:
        heads: what its journals say as a whole.
        producers: how many it has.
        keep: where more may be kept as long as the parts are open.
    """

    heads: Heads
    producers: int
    keep: Keep
    _count: int
    _read: Callable[[int], Part]

    def __iter__(self) -> Iterator[Part]:
        """Read the parts one after the other, as often as needed."""
        return map(self._read, range(self._count))


@contextmanager
def open_parts(folder: Path, facts: Facts, *, collected: bool) -> Iterator[Parts]:
    """Read a run folder; what is yielded is good until the end of the ``with``.

    Raises:
        LoadError, LedgerError: the journals are damaged, or contradict themselves.
        OSError, ValueError: what was collected is missing or damaged.
    """
    source = _Source(folder, facts, collected)
    if most_events(folder) <= PART_EVENTS and source.most_held() <= PART_EVENTS:
        yield source.whole()
        return
    with open_spill(folder) as spill:
        yield source.dealt(spill)


@dataclass(frozen=True, slots=True)
class _Source:
    folder: Path
    facts: Facts
    collected: bool

    def most_held(self) -> int:
        """Return how long the longest array is that was collected."""
        if not self.collected:
            return 0
        return max(npy.length(self._path(name), DTYPES[name]) for name in self._arrays())

    def _arrays(self) -> tuple[str, ...]:
        return tuple(n for n in ARRAYS if n != LATER or self._path(n).exists())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def whole(self) -> Parts:
        journals = read_journals(self.folder)
        held = Collected.load(self.folder) if self.collected else Collected.empty()
        part = Part(
            0,
            Operations(journals.intents, journals.outcomes),
            self._held(held.rows, held.dead_lettered, held.pending, held.stranded),
        )
        producers = int(journals.intents["producer"].max()) + 1 if journals.events else 0
        return Parts(journals, producers, in_memory, 1, lambda _: part)

    def _held(
        self, rows: Records, dead_lettered: Records, pending: Records, stranded: Records
    ) -> Held:
        facts, after_s = self.facts, self.facts.redelivered_after_s
        # Rows whose position is no whole number would all share one, and be in any order.
        placed = not (rows["position"] == FOREIGN).any()
        return Held(
            rows,
            dead_lettered,
            pending,
            facts.hashes_measured,
            facts.positions_measured and placed,
            facts.times_measured,
            facts.collected_ns,
            stranded,
            facts.stranded_measured,
            bool(facts.pending_doubt),
            None if after_s is None else round(after_s * 1e9),
            facts.struck_ns,
        )

    def dealt(self, spill: Spill) -> Parts:
        counts = _Counts()
        heads = scan_records(self.folder, counts.take)
        firsts, producers = _firsts(counts.of_each), len(counts.of_each)
        dealt = _Deal(firsts, producers, spill, RECORD_DTYPE)
        scan_records(self.folder, dealt.add)
        held = [self._dealt_array(name, firsts, producers, spill) for name in ARRAYS]

        def part(number: int) -> Part:
            records = dealt.of(number)
            return Part(
                int(firsts[number]),
                Operations(intents_in(records), outcomes_in(records)),
                self._held(*(array.of(number) for array in held)),
            )

        return Parts(heads, producers, spill.keep, len(firsts), part)

    def _dealt_array(self, name: str, firsts: _Numbers, producers: int, spill: Spill) -> _Deal:
        deal = _Deal(firsts, producers, spill, DTYPES[name])
        pieces: Iterable[Records] = ()
        if self.collected and name in self._arrays():
            pieces = npy.parts(self._path(name), DTYPES[name])
        for piece in pieces:
            deal.add(piece)
        return deal


class _Counts:
    """Counts how many events each producer sent, in ``of_each``."""

    def __init__(self) -> None:
        self.of_each: _Numbers = np.zeros(0, np.int64)
        self._events = 0

    def take(self, records: Records) -> None:
        """Count the intents."""
        producers = records["producer"][records["kind"] == INTENT]
        if not len(producers):
            return
        self._events += len(producers)
        most = int(producers.max()) + 1
        check_dense(most, self._events, "producers")
        if most > len(self.of_each):
            self.of_each = np.pad(self.of_each, (0, most - len(self.of_each)))
        self.of_each += np.bincount(producers, minlength=len(self.of_each))


def _firsts(counts: _Numbers) -> _Numbers:
    """Return the first producer of each part."""
    before = np.cumsum(counts) - counts
    _, firsts = np.unique(before // PART_EVENTS, return_index=True)
    return np.asarray(firsts if len(counts) else np.zeros(1), np.int64)


class _Deal:
    """Records that are dealt out to parts by their producers, in the order in which they come."""

    def __init__(
        self, firsts: _Numbers, producers: int, spill: Spill, dtype: np.dtype[np.void]
    ) -> None:
        sizes = np.diff(firsts, append=max(producers, int(firsts[-1]) + 1))
        # Numbers as small as can be: NumPy orders those of one or two bytes by counting.
        numbers = np.arange(len(firsts), dtype=np.min_scalar_type(len(firsts)))
        self._part_of = np.repeat(numbers, sizes)
        self._edges = np.arange(len(firsts) + 1)
        self._spill = spill
        self._dtype = dtype
        self._pieces: list[list[Kept]] = [[] for _ in firsts]

    def add(self, records: Records) -> None:
        # Ids below the first part's or above the last's are nobody's: they go to one part
        # that does not know them.
        part = self._part_of[np.clip(records["producer"], 0, len(self._part_of) - 1)]
        order = np.argsort(part, kind="stable")
        dealt, edges = taken(records, order), np.searchsorted(part[order], self._edges)
        for number in np.flatnonzero(edges[1:] > edges[:-1]).tolist():
            chosen = dealt[edges[number] : edges[number + 1]]
            self._pieces[number].append(self._spill.keep(chosen))

    def of(self, number: int) -> Records:
        return joined(self._pieces[number], self._dtype)

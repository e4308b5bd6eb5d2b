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

from harness import npy
from harness.ledger.ascending import Keep, in_memory
from harness.ledger.collected import ARRAYS, Collected
from harness.ledger.records import INTENT, OUTCOME, PAIR, ROW, Held, Records, Told
from harness.ledger.space import check_dense
from harness.load.reading import Heads, most_events, read_journals, scan_journals
from harness.spill import Kept, Spill, joined, open_spill

# Events of a part. What judging one takes is some 200 bytes for each.
PART_EVENTS = 250_000

_DTYPES = {"rows": ROW, "dead_lettered": PAIR, "pending": PAIR}
_Numbers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of the events of some producers.

    Attributes:
        first: the first of them.
        told: what they were told.
        held: what the target holds of them; rows that nobody sent are in one of the parts.
            It is empty where nothing was collected.
    """

    first: int
    told: Told
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
def open_parts(folder: Path, *, collected: bool, hashes: bool, positions: bool) -> Iterator[Parts]:
    """Read a run folder; what is yielded is good until the end of the ``with``.

    Args:
        folder: of the run.
        collected: what was persisted was collected, and is read too.
        hashes: the payload hashes of its rows are real.
        positions: so are their positions.

    Raises:
        LoadError, LedgerError: the journals are damaged, or contradict themselves.
        OSError, ValueError: what was collected is missing or damaged.
    """
    source = _Source(folder, collected, hashes, positions)
    if most_events(folder) <= PART_EVENTS and source.most_held() <= PART_EVENTS:
        yield source.whole()
        return
    with open_spill(folder) as spill:
        yield source.dealt(spill)


@dataclass(frozen=True, slots=True)
class _Source:
    folder: Path
    collected: bool
    hashes: bool
    positions: bool

    def most_held(self) -> int:
        """Return how long the longest array is that was collected."""
        if not self.collected:
            return 0
        return max(npy.length(self._path(name), _DTYPES[name]) for name in ARRAYS)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def whole(self) -> Parts:
        journals = read_journals(self.folder)
        held = Collected.load(self.folder) if self.collected else Collected.empty()
        part = Part(
            0,
            Told(journals.intents, journals.outcomes),
            self._held(held.rows, held.dead_lettered, held.pending),
        )
        producers = int(journals.intents["producer"].max()) + 1 if journals.events else 0
        return Parts(journals, producers, in_memory, 1, lambda _: part)

    def _held(self, rows: Records, dead_lettered: Records, pending: Records) -> Held:
        return Held(rows, dead_lettered, pending, self.hashes, self.positions)

    def dealt(self, spill: Spill) -> Parts:
        counts = _Counts()
        heads = scan_journals(self.folder, counts.take)
        firsts = _firsts(counts.of_each)
        sent, told = _Deal(firsts, spill, INTENT), _Deal(firsts, spill, OUTCOME)

        def take(intents: Records, outcomes: Records) -> None:
            sent.add(intents)
            told.add(outcomes)

        scan_journals(self.folder, take)
        held = [self._dealt_array(name, firsts, spill) for name in ARRAYS]

        def part(number: int) -> Part:
            return Part(
                int(firsts[number]),
                Told(sent.of(number), told.of(number)),
                self._held(*(array.of(number) for array in held)),
            )

        return Parts(heads, len(counts.of_each), spill.keep, len(firsts), part)

    def _dealt_array(self, name: str, firsts: _Numbers, spill: Spill) -> _Deal:
        deal = _Deal(firsts, spill, _DTYPES[name])
        pieces: Iterable[Records] = ()
        if self.collected:
            pieces = npy.parts(self._path(name), _DTYPES[name])
        for piece in pieces:
            deal.add(piece)
        return deal


class _Counts:
    """Counts how many events each producer sent, in ``of_each``."""

    def __init__(self) -> None:
        self.of_each: _Numbers = np.zeros(0, np.int64)
        self._events = 0

    def take(self, intents: Records, outcomes: Records) -> None:
        """Count the intents."""
        del outcomes
        if not len(intents):
            return
        self._events += len(intents)
        producers = intents["producer"]
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

    def __init__(self, firsts: _Numbers, spill: Spill, dtype: np.dtype[np.void]) -> None:
        self._firsts = firsts
        self._spill = spill
        self._dtype = dtype
        self._pieces: list[list[Kept]] = [[] for _ in firsts]

    def add(self, records: Records) -> None:
        producers = records["producer"].astype(np.int64)
        # Ids below the first part's are nobody's, and go where those above the last do: to
        # one part that does not know them.
        part = np.maximum(np.searchsorted(self._firsts, producers, side="right") - 1, 0)
        order = np.argsort(part, kind="stable")
        edges = np.searchsorted(part[order], np.arange(len(self._firsts) + 1))
        for number in np.flatnonzero(edges[1:] > edges[:-1]).tolist():
            chosen = records[order[edges[number] : edges[number + 1]]]
            self._pieces[number].append(self._spill.keep(chosen))

    def of(self, number: int) -> Records:
        return joined(self._pieces[number], self._dtype)

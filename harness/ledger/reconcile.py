"""Puts every event into one class: what producers were told against what was persisted.

Pure: arrays in, ledger out. Ids ``(producer, sequence)`` are dense, so each event has a
place in arrays of the length of all events, and one pass over each input is enough.

| m = rows persisted | m = 0 | m >= 1 |
|---|---|---|
| acked | lost, or dead-lettered, or pending | delivered |
| unknown | unresolved | recovered |
| refused | refused | resurrected |
| never sent | – | unexpected |
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.errors import LedgerError
from harness.model import Counts

Records = npt.NDArray[np.void]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Ranks = npt.NDArray[np.uint32]

INTENT = np.dtype(
    [
        ("producer", "<u4"),
        ("sequence", "<u8"),
        ("sent_ns", "<i8"),
        ("scheduled_ns", "<i8"),
        ("payload_hash", "<i8"),
    ]
)
OUTCOME = np.dtype(
    [
        ("producer", "<u4"),
        ("sequence", "<u8"),
        ("done_ns", "<i8"),
        ("status", "u1"),
        ("code", "<u2"),
    ]
)
ROW = np.dtype(
    [
        ("producer", "<i8"),
        ("sequence", "<i8"),
        ("payload_hash", "<i8"),
        ("position", "<i8"),
        ("persisted_ns", "<i8"),
    ]
)
PAIR = np.dtype([("producer", "<u4"), ("sequence", "<u8")])

CHUNK = 1 << 20

# What a producer was told, ordered by what binds most: when one event has two outcomes, a
# yes was promised, and a silence may have had an effect; only a lone refusal is a refusal.
_NEVER_SENT, _REFUSED, _UNKNOWN, _ACKED = range(4)
_RANK_OF_STATUS = np.array([_UNKNOWN, _ACKED, _REFUSED], np.uint8)
_NOWHERE = np.uint32(0xFFFFFFFF)

# An id space much larger than its events would mean a gap, that is a broken journal.
_LARGEST_GAP = 4
_SLACK = 4096


@dataclass(frozen=True, slots=True)
class Told:
    """What the producers' journals say.

    Attributes:
        intents: dtype INTENT.
        outcomes: dtype OUTCOME; an intent without one is unknown.
    """

    intents: Records
    outcomes: Records


@dataclass(frozen=True, slots=True)
class Held:
    """What the target holds after settling.

    Attributes:
        rows: dtype ROW.
        dead_lettered, pending: dtype PAIR.
        hashes_measured: the rows' payload hashes are real.
        positions_measured: the rows' positions are real.
    """

    rows: Records
    dead_lettered: Records
    pending: Records
    hashes_measured: bool = True
    positions_measured: bool = True


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every event in its class.

    Attributes:
        counts: events per class (``unexpected``: rows).
        not_measured: classes of which the rows tell nothing; their counts are 0 and void.
        lost, duplicated, corrupted, reordered, resurrected: ids, dtype PAIR.
        unexpected: rows that were never sent, dtype ROW.
        extra_rows: rows beyond the first of each event.
        lost_prefix, lost_middle, lost_suffix: lost events before the first, between, and
            after the last delivered one of their producer.
    """

    counts: Counts
    not_measured: frozenset[str]
    lost: Records
    duplicated: Records
    corrupted: Records
    reordered: Records
    resurrected: Records
    unexpected: Records
    extra_rows: int
    lost_prefix: int
    lost_middle: int
    lost_suffix: int

    def with_counts(self, counts: Counts, not_measured: frozenset[str]) -> Ledger:
        """Return the same ledger with other counts, for when rows could not be read."""
        return replace(self, counts=counts, not_measured=not_measured)


def reconcile(told: Told, held: Held) -> Ledger:
    """Compare what producers were told with what the target holds.

    Reordered are the events B for which an event A of the same producer was acked before B
    was sent, and yet persisted after B. An unknown event in the dead letters stays
    unresolved: the producer does not know of it. An acked event that is persisted and also
    dead-lettered or pending counts as delivered.

    Raises:
        LedgerError: the journals contradict themselves.
    """
    space = _Space(told.intents)
    status = _statuses(space, told)
    times, unexpected = _times_persisted(space, held.rows)
    persisted = times > 0
    acked, unknown, refused = (status == s for s in (_ACKED, _UNKNOWN, _REFUSED))
    missing = acked & ~persisted
    dead = missing & space.flags(held.dead_lettered)
    pending = missing & ~dead & space.flags(held.pending)
    lost = missing & ~dead & ~pending
    corrupted = _corrupted(space, told.intents, held)
    reordered = _reordered(space, told, held, persisted, acked)
    counts = Counts(
        sent=_n(status != _NEVER_SENT),
        acked=_n(acked),
        refused=_n(refused),
        unknown=_n(unknown),
        delivered=_n(acked & persisted),
        lost=_n(lost),
        dead_lettered=_n(dead),
        pending=_n(pending),
        recovered=_n(unknown & persisted),
        unresolved=_n(unknown & ~persisted),
        resurrected=_n(refused & persisted),
        unexpected=len(unexpected),
        duplicated=_n(times > 1),
        corrupted=_n(corrupted),
        reordered=_n(reordered),
    )
    _check_sums(counts)
    prefix, middle, suffix = _where(space, lost, acked & persisted)
    return Ledger(
        counts=counts,
        not_measured=_not_measured(held),
        lost=space.ids(lost),
        duplicated=space.ids(times > 1),
        corrupted=space.ids(corrupted),
        reordered=space.ids(reordered),
        resurrected=space.ids(refused & persisted),
        unexpected=unexpected,
        extra_rows=len(held.rows) - len(unexpected) - _n(persisted),
        lost_prefix=prefix,
        lost_middle=middle,
        lost_suffix=suffix,
    )


def merge(parts: list[Counts]) -> Counts:
    """Add up the counts of ledgers over disjoint producers."""
    columns = zip(*(part.as_dict().values() for part in parts), strict=True)
    return Counts(*map(sum, columns))


def keys(ids: Records) -> npt.NDArray[np.uint64]:
    """Return one number for each id; sequences of a run stay far below 2**40."""
    producers = ids["producer"].astype(np.uint64)
    return (producers << np.uint64(40)) ^ ids["sequence"].astype(np.uint64)


class _Space:
    """Gives each event of the intents a place in ``range(size)``, producer by producer."""

    def __init__(self, intents: Records) -> None:
        producers, sequences = intents["producer"], intents["sequence"]
        count = int(producers.max()) + 1 if len(intents) else 0
        self._check_dense(count, len(intents), "producers")
        self._check_dense(float(sequences.max()) if count else 0, len(intents), "sequences")
        lengths = np.zeros(count, np.uint64)
        for part in _chunks(len(intents)):
            np.maximum.at(lengths, producers[part], sequences[part] + np.uint64(1))
        self._check_dense(float(lengths.sum(dtype=np.float64)), len(intents), "ids")
        self.bases = np.zeros(count + 1, np.intp)
        self.bases[1:] = np.cumsum(lengths, dtype=np.int64)
        self._edges: list[int] = [int(base) for base in self.bases]
        self.size = self._edges[-1]
        self._lengths = lengths.astype(np.int64)

    def _check_dense(self, largest: float, events: int, what: str) -> None:
        if largest > _LARGEST_GAP * events + _SLACK:
            raise LedgerError(
                f"the journals hold {events} events but {what} up to {largest:.0f}; "
                "ids must be minted without gaps"
            )

    def places(self, ids: Records) -> Places:
        """Return the place of each id; -1 for those that were never minted."""
        producers = ids["producer"].astype(np.int64)
        sequences = ids["sequence"].astype(np.int64)
        if not len(self._lengths):
            return np.full(len(ids), -1, np.intp)
        known = (producers >= 0) & (producers < len(self._lengths)) & (sequences >= 0)
        np.putmask(producers, ~known, 0)
        known &= sequences < self._lengths[producers]
        places = self.bases[producers] + sequences
        np.putmask(places, ~known, -1)
        return places

    def flags(self, ids: Records) -> Flags:
        """Return which places are among the ids; foreign ids are passed over."""
        found = np.zeros(self.size, bool)
        places = self.places(ids)
        found[places[places >= 0]] = True
        return found

    def ids(self, flags: Flags) -> Records:
        """Return the ids of flagged places."""
        places = np.flatnonzero(flags)
        pairs = np.empty(len(places), PAIR)
        producers = np.searchsorted(self.bases, places, side="right") - 1
        pairs["producer"] = producers
        pairs["sequence"] = places - self.bases[producers]
        return pairs

    def slices(self) -> Iterator[slice]:
        """Yield the places of each producer that has any."""
        for begin, end in itertools.pairwise(self._edges):
            if end > begin:
                yield slice(begin, end)


def _statuses(space: _Space, told: Told) -> npt.NDArray[np.uint8]:
    sent = np.zeros(space.size, bool)
    for part in _chunks(len(told.intents)):
        sent[space.places(told.intents[part])] = True
    if _n(sent) != len(told.intents):
        raise LedgerError(
            f"{len(told.intents) - _n(sent)} events were intended twice under the same id; "
            "two load processes may have shared a shard number"
        )
    status = np.zeros(space.size, np.uint8)
    for part in _chunks(len(told.outcomes)):
        outcomes = told.outcomes[part]
        places = space.places(outcomes)
        if (places < 0).any() or not sent[places].all():
            raise LedgerError("an outcome is recorded for an event that was never intended")
        if (outcomes["status"] >= len(_RANK_OF_STATUS)).any():
            raise LedgerError("an outcome has a status that does not exist")
        np.maximum.at(status, places, _RANK_OF_STATUS[outcomes["status"]])
    status[sent & (status == _NEVER_SENT)] = _UNKNOWN
    return status


def _times_persisted(space: _Space, rows: Records) -> tuple[npt.NDArray[np.uint32], Records]:
    times = np.zeros(space.size, np.uint32)
    foreign = []
    for part in _chunks(len(rows)):
        places = space.places(rows[part])
        known = places >= 0
        np.add.at(times, places[known], np.uint32(1))
        foreign.append(rows[part][~known])
    return times, np.concatenate(foreign) if foreign else np.empty(0, ROW)


def _corrupted(space: _Space, intents: Records, held: Held) -> Flags:
    corrupted = np.zeros(space.size, bool)
    if not held.hashes_measured:
        return corrupted
    expected = np.zeros(space.size, np.int64)
    for part in _chunks(len(intents)):
        expected[space.places(intents[part])] = intents["payload_hash"][part]
    for part in _chunks(len(held.rows)):
        places = space.places(held.rows[part])
        known = places >= 0
        places, hashes = places[known], held.rows["payload_hash"][part][known]
        corrupted[places[hashes != expected[places]]] = True
    return corrupted


def _reordered(space: _Space, told: Told, held: Held, persisted: Flags, acked: Flags) -> Flags:
    """Return the events that overtook an earlier acked one, in 12 bytes an event.

    Times and positions are replaced by ranks: sent_rank counts sends, and ack_rank says how
    many sends were not later than the ack, so A was acked before B was sent exactly when
    ack_rank(A) <= sent_rank(B).
    """
    reordered = np.zeros(space.size, bool)
    if not held.positions_measured:
        return reordered
    position = _first_positions(space, held.rows)
    sent_rank, in_order = _sent_ranks(space, told.intents)
    suspects = [s for s in space.slices() if _may_be_reordered(s, position, sent_rank, persisted)]
    if not suspects:
        return reordered
    ack_rank = _ack_ranks(space, told.outcomes, in_order)
    for producer in suspects:
        here = np.flatnonzero(persisted[producer]) + producer.start
        first = here[acked[here]]
        first = first[np.argsort(ack_rank[first], kind="stable")]
        latest = np.maximum.accumulate(position[first])
        before = np.searchsorted(ack_rank[first], sent_rank[here], side="right")
        overtook = before > 0
        overtook[overtook] = latest[before[overtook] - 1] > position[here[overtook]]
        reordered[here[overtook]] = True
    return reordered


def _may_be_reordered(producer: slice, position: Ranks, sent_rank: Ranks, persisted: Flags) -> bool:
    """Return False when order of sending and of persisting agree, which rules it out."""
    here = persisted[producer]
    positions, sends = position[producer][here], sent_rank[producer][here]
    return bool((positions[1:] < positions[:-1]).any() or (sends[1:] < sends[:-1]).any())


def _first_positions(space: _Space, rows: Records) -> Ranks:
    """Return the rank of each event's first row among all rows."""
    position = np.full(space.size, _NOWHERE)
    order = _order(rows["position"])
    for part in _chunks(len(rows)):
        ranks = np.arange(part.start, part.start + len(rows[part]), dtype=np.uint32)
        places = space.places(rows[part] if order is None else rows[order[part]])
        known = places >= 0
        np.minimum.at(position, places[known], ranks[known])
    return position


def _sent_ranks(space: _Space, intents: Records) -> tuple[Ranks, npt.NDArray[np.int64]]:
    """Return each event's rank by time of sending, and these times in order."""
    order = _order(intents["sent_ns"])
    ranks = np.zeros(space.size, np.uint32)
    times = intents["sent_ns"] if order is None else intents["sent_ns"][order]
    for part in _chunks(len(intents)):
        chosen = intents[part] if order is None else intents[order[part]]
        begin = part.start
        ranks[space.places(chosen)] = np.arange(begin, begin + len(chosen), dtype=np.uint32)
    return ranks, times


def _ack_ranks(space: _Space, outcomes: Records, sends: npt.NDArray[np.int64]) -> Ranks:
    ranks = np.full(space.size, _NOWHERE)
    for part in _chunks(len(outcomes)):
        chosen = outcomes[part]
        not_later = np.searchsorted(sends, chosen["done_ns"], side="right").astype(np.uint32)
        np.minimum.at(ranks, space.places(chosen), not_later)
    return ranks


def _order(keys: npt.NDArray[np.int64]) -> Places | None:
    """Return the order that sorts the keys; None when they are sorted as they are."""
    for part in _chunks(len(keys)):
        piece = keys[part.start : part.stop + 1]
        if (piece[1:] < piece[:-1]).any():
            return np.argsort(keys, kind="stable")
    return None


def _where(space: _Space, lost: Flags, delivered: Flags) -> tuple[int, int, int]:
    """Return how many lost events lie before, between and after the delivered ones."""
    prefix = middle = suffix = 0
    for producer in space.slices():
        gone = np.flatnonzero(lost[producer])
        if not len(gone):
            continue
        there = np.flatnonzero(delivered[producer])
        if not len(there):
            prefix += len(gone)
            continue
        early, late = _n(gone < there[0]), _n(gone > there[-1])
        prefix, suffix = prefix + early, suffix + late
        middle += len(gone) - early - late
    return prefix, middle, suffix


def _check_sums(counts: Counts) -> None:
    """Raise when the classes do not add up; no input may ever make them."""
    told = counts.acked + counts.refused + counts.unknown
    held = counts.delivered + counts.lost + counts.dead_lettered + counts.pending
    if counts.sent != told or counts.acked != held:
        raise LedgerError(f"the classes of the ledger do not add up: {counts.as_dict()}")


def _not_measured(held: Held) -> frozenset[str]:
    missing = {"corrupted": held.hashes_measured, "reordered": held.positions_measured}
    return frozenset(name for name, measured in missing.items() if not measured)


def _chunks(length: int) -> Iterator[slice]:
    for begin in range(0, length, CHUNK):
        yield slice(begin, begin + CHUNK)


def _n(flags: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))

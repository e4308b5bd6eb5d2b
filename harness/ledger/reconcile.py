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

import bisect
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

# Small enough that what is made of one chunk stays in the processor's cache.
CHUNK = 1 << 16

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
    intent_at = _intents_at(space, told.intents)
    status = _statuses(space, told.outcomes, intent_at)
    seen = _read_rows(space, told.intents, intent_at, held)
    persisted = seen.position != _NOWHERE
    acked = status == _ACKED
    missing = np.flatnonzero(acked & ~persisted)
    dead = np.isin(missing, space.known_places(held.dead_lettered))
    pending = ~dead & np.isin(missing, space.known_places(held.pending))
    lost = missing[~dead & ~pending]
    resurrected = np.flatnonzero((status == _REFUSED) & persisted)
    reordered = _reordered(space, told, _Order(intent_at, seen.position, acked), held)
    n_acked, n_unknown = _n(acked), _n(status == _UNKNOWN)
    recovered = _n((status == _UNKNOWN) & persisted)
    counts = Counts(
        sent=_n(status != _NEVER_SENT),
        acked=n_acked,
        refused=_n(status == _REFUSED),
        unknown=n_unknown,
        delivered=_n(acked & persisted),
        lost=len(lost),
        dead_lettered=_n(dead),
        pending=_n(pending),
        recovered=recovered,
        unresolved=n_unknown - recovered,
        resurrected=len(resurrected),
        unexpected=len(seen.unexpected),
        duplicated=len(seen.duplicated),
        corrupted=len(seen.corrupted),
        reordered=len(reordered),
    )
    _check_sums(counts)
    prefix, middle, suffix = _where(space, lost, acked & persisted)
    return Ledger(
        counts=counts,
        not_measured=_not_measured(held),
        lost=space.ids(lost),
        duplicated=space.ids(seen.duplicated),
        corrupted=space.ids(seen.corrupted),
        reordered=space.ids(reordered),
        resurrected=space.ids(resurrected),
        unexpected=seen.unexpected,
        extra_rows=seen.extra_rows,
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

    def known_places(self, ids: Records) -> Places:
        """Return the places of those ids that were minted."""
        places = self.places(ids)
        return places[places >= 0]

    def ids(self, places: Places) -> Records:
        """Return the ids of places."""
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


def _intents_at(space: _Space, intents: Records) -> Ranks:
    """Return for each place the index of its intent; ``_NOWHERE`` where none was sent."""
    at = np.full(space.size, _NOWHERE)
    for part in _chunks(len(intents)):
        at[space.places(intents[part])] = _indices(part, len(intents))
    sent = _n(at != _NOWHERE)
    if sent != len(intents):
        raise LedgerError(
            f"{len(intents) - sent} events were intended twice under the same id; "
            "two load processes may have shared a shard number"
        )
    return at


def _statuses(space: _Space, outcomes: Records, intent_at: Ranks) -> npt.NDArray[np.uint8]:
    status = np.zeros(space.size, np.uint8)
    for part in _chunks(len(outcomes)):
        chosen = outcomes[part]
        places = space.places(chosen)
        if (places < 0).any() or (intent_at[places] == _NOWHERE).any():
            raise LedgerError("an outcome is recorded for an event that was never intended")
        if (chosen["status"] >= len(_RANK_OF_STATUS)).any():
            raise LedgerError("an outcome has a status that does not exist")
        np.maximum.at(status, places, _RANK_OF_STATUS[chosen["status"]])
    status[(intent_at != _NOWHERE) & (status == _NEVER_SENT)] = _UNKNOWN
    return status


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rows show.

    Attributes:
        position: for each place the rank of its first row among all rows, or ``_NOWHERE``.
        duplicated, corrupted: places.
        unexpected: rows.
        extra_rows: rows beyond the first of each event.
    """

    position: Ranks
    duplicated: Places
    corrupted: Places
    unexpected: Records
    extra_rows: int


def _read_rows(space: _Space, intents: Records, intent_at: Ranks, held: Held) -> _Seen:
    """Go through the rows once, in the order of persisting."""
    position = np.full(space.size, _NOWHERE)
    order = _order(held.rows["position"]) if held.positions_measured else None
    again: list[Places] = [np.empty(0, np.intp)]
    altered: list[Places] = [np.empty(0, np.intp)]
    foreign: list[Records] = [np.empty(0, ROW)]
    for part in _chunks(len(held.rows)):
        rows = held.rows[part] if order is None else held.rows[order[part]]
        places, ranks = space.places(rows), _indices(part, len(held.rows))
        known = (places >= 0) & (intent_at[places] != _NOWHERE if space.size else False)
        if not known.all():
            foreign.append(rows[~known])
            rows, places, ranks = rows[known], places[known], ranks[known]
        fresh = position[places] == _NOWHERE
        # Of several rows in one chunk the last assignment counts, so the first goes last.
        position[places[fresh][::-1]] = ranks[fresh][::-1]
        again.append(places[position[places] != ranks])
        if held.hashes_measured:
            expected = intents["payload_hash"][intent_at[places]]
            altered.append(places[rows["payload_hash"] != expected])
    repeats = np.concatenate(again)
    return _Seen(
        position,
        np.unique(repeats),
        np.unique(np.concatenate(altered)),
        np.concatenate(foreign),
        len(repeats),
    )


@dataclass(frozen=True, slots=True)
class _Order:
    """In which order events were sent and persisted; one entry for each place."""

    intent_at: Ranks
    position: Ranks
    acked: Flags


def _reordered(space: _Space, told: Told, order: _Order, held: Held) -> Places:
    """Return the events that overtook an earlier acked one.

    Times are replaced by ranks: sent_rank counts sends, and ack_rank says how many sends
    were not later than the ack, so A was acked before B was sent exactly when
    ack_rank(A) <= sent_rank(B).
    """
    found = [np.empty(0, np.intp)]
    if not held.positions_measured:
        return found[0]
    sent_rank, sends = _sent_ranks(told.intents, order.intent_at)
    pairs = [_suspects(p, order, sent_rank) for p in space.slices()]
    pairs = [(overtaken, overtaking) for overtaken, overtaking in pairs if len(overtaken)]
    if not pairs:
        return found[0]
    wanted = np.concatenate([overtaken for overtaken, _ in pairs])
    ack_rank = _ack_ranks(space, told.outcomes, sends, wanted)
    for overtaken, overtaking in pairs:
        by_ack = overtaken[np.argsort(ack_rank[overtaken], kind="stable")]
        latest = np.maximum.accumulate(order.position[by_ack])
        before = np.searchsorted(ack_rank[by_ack], sent_rank[overtaking], side="right")
        late = before > 0
        late[late] = latest[before[late] - 1] > order.position[overtaking[late]]
        found.append(overtaking[late])
    return np.concatenate(found)


def _suspects(producer: slice, order: _Order, sent_rank: Ranks) -> tuple[Places, Places]:
    """Return the acked events persisted after a later sent one, and those later sent ones.

    Whatever is reordered is among them, and where order is kept they are few.
    """
    here = np.flatnonzero(order.position[producer] != _NOWHERE) + producer.start
    sends = sent_rank[here]
    if (sends[1:] < sends[:-1]).any():
        here = here[np.argsort(sends, kind="stable")]
    position = order.position[here]
    latest_before = np.maximum.accumulate(position[:-1])
    earliest_after = np.minimum.accumulate(position[:0:-1])[::-1]
    overtaken = here[:-1][position[:-1] > earliest_after]
    return overtaken[order.acked[overtaken]], here[1:][position[1:] < latest_before]


def _sent_ranks(intents: Records, intent_at: Ranks) -> tuple[Ranks, npt.NDArray[np.int64]]:
    """Return each event's rank by time of sending, and these times in order."""
    order = _order(intents["sent_ns"])
    if order is None:
        return intent_at, intents["sent_ns"]
    rank_of_intent = np.empty(len(intents), np.uint32)
    rank_of_intent[order] = np.arange(len(intents), dtype=np.uint32)
    ranks = np.full(len(intent_at), _NOWHERE)
    sent = intent_at != _NOWHERE
    ranks[sent] = rank_of_intent[intent_at[sent]]
    return ranks, intents["sent_ns"][order]


def _ack_ranks(
    space: _Space, outcomes: Records, sends: npt.NDArray[np.int64], wanted: Places
) -> Ranks:
    """Return the ack ranks of the wanted places; of all others nothing is said."""
    ranks = np.full(space.size, _NOWHERE)
    chosen = np.zeros(space.size, bool)
    chosen[wanted] = True
    for part in _chunks(len(outcomes)):
        places = space.places(outcomes[part])
        here = chosen[places]
        if here.any():
            done = outcomes["done_ns"][part][here]
            # Outcomes come nearly in order: a short stretch of the sends is enough to search.
            low = bisect.bisect_right(sends, done.min())
            high = bisect.bisect_right(sends, done.max())
            not_later = low + np.searchsorted(sends[low:high], done, side="right")
            np.minimum.at(ranks, places[here], not_later.astype(np.uint32))
    return ranks


def _order(keys: npt.NDArray[np.int64]) -> Places | None:
    """Return the order that sorts the keys; None when they are sorted as they are."""
    for part in _chunks(len(keys)):
        piece = keys[part.start : part.stop + 1]
        if (piece[1:] < piece[:-1]).any():
            return np.argsort(keys, kind="stable")
    return None


def _where(space: _Space, lost: Places, delivered: Flags) -> tuple[int, int, int]:
    """Return how many lost events lie before, between and after the delivered ones."""
    prefix = middle = suffix = 0
    for producer in space.slices():
        begin, end = np.searchsorted(lost, [producer.start, producer.stop])
        if begin == end:
            continue
        gone = lost[begin:end] - producer.start
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


def _indices(part: slice, length: int) -> Ranks:
    return np.arange(part.start, min(part.stop, length), dtype=np.uint32)


def _n(flags: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))

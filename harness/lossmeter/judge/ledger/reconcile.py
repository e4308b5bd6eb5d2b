"""Puts every event into one class: the answers that producers got against what was persisted.

Pure: arrays in, ledger out. Ids ``(producer, sequence)`` are dense, so each event has a
place in arrays of the length of all events, and one pass over each input is enough.

| m = rows persisted | m = 0 | m >= 1 |
|---|---|---|
| acked | lost, or dead-lettered, or pending, or stranded | delivered, some late |
| unknown | unresolved | recovered |
| refused | refused | resurrected |
| never sent | – | unexpected |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossmeter.errors import LedgerError
from lossmeter.judge.ledger.ascending import Numbers
from lossmeter.judge.ledger.classes import Dating, Ledger
from lossmeter.judge.ledger.layout import (
    ACKED,
    NEVER_SENT,
    REFUSED,
    UNKNOWN,
    Layout,
    check_countable,
    lay_out,
)
from lossmeter.judge.ledger.ordering import EventOrder, find_reordered, sorting
from lossmeter.judge.ledger.space import NOWHERE, Flags, Places, Ranks, Space, chunks, indices
from lossmeter.model import Counts, Status
from lossmeter.record.arrays import ROW, UNDATED, Held, Operations, Records, taken

_NEVER = np.iinfo(np.int64).max

# By how much a row may seem to be older than its event, or younger than its collection:
# databases round, and clocks that NTP keeps together differ.
CLOCK_NS = 10_000_000


def reconcile(operations: Operations, held: Held, first: int = 0) -> Ledger:
    """Compare the answers that producers got with what the target holds.

    Raises:
        LedgerError: the journals contradict themselves, or hold more than can be counted.
    """
    return reconcile_laid(lay_out(operations, first), held)


def reconcile_laid(laid: Layout, held: Held) -> Ledger:
    """Compare the answers that producers got with what the target holds.

    Reordered are the events B for which an event A of the same producer was acked before B
    was sent, and yet persisted after B. An unknown event in the dead letters stays
    unresolved: the producer does not know of it. A refused one there stays refused until it
    is replayed: then it has a row, and is resurrected. An acked event that is persisted and
    also dead-lettered, pending or stranded counts as delivered. An id that was never minted
    matches nothing, whatever it is: its row is unexpected, what else is held of it foreign.
    Late are the delivered that were acked before a fault struck and persisted after it, no
    sooner than the broker gives an event again.

    Raises:
        LedgerError: the journals contradict themselves, or hold more than can be counted.
    """
    check_countable(len(held.rows))
    space, intent_at, status = laid.space, laid.intent_at, laid.status
    seen = _read_rows(laid, held)
    persisted = seen.position != NOWHERE
    acked = status == ACKED
    missing = np.flatnonzero(acked & ~persisted)
    letters = _minted(space, intent_at, held.dead_lettered)
    waiting = _minted(space, intent_at, held.pending)
    left = _minted(space, intent_at, held.stranded)
    dead = np.isin(missing, letters)
    pending = ~dead & np.isin(missing, waiting)
    stranded = ~dead & ~pending & np.isin(missing, left)
    lost = missing[~dead & ~pending & ~stranded]
    late, late_by_ns = _late(laid, held, seen.first_ns)
    resurrected = np.flatnonzero((status == REFUSED) & persisted)
    reordered = find_reordered(laid, EventOrder(seen.position, acked), held)
    n_acked, n_unknown = _n(acked), _n(status == UNKNOWN)
    recovered = _n((status == UNKNOWN) & persisted)
    counts = Counts(
        sent=_n(status != NEVER_SENT),
        acked=n_acked,
        refused=_n(status == REFUSED),
        unknown=n_unknown,
        delivered=_n(acked & persisted),
        lost=len(lost),
        dead_lettered=_n(dead),
        pending=_n(pending),
        stranded=_n(stranded),
        late=len(late),
        recovered=recovered,
        unresolved=n_unknown - recovered,
        resurrected=len(resurrected),
        unexpected=len(seen.unexpected),
        duplicated=len(seen.duplicated),
        corrupted=len(seen.corrupted),
        reordered=len(reordered),
        foreign=len(held.dead_lettered)
        + len(held.pending)
        + len(held.stranded)
        - (len(letters) + len(waiting) + len(left)),
    )
    _check_sums(counts)
    prefix, middle, suffix = _where(space, lost, acked & persisted)
    return Ledger(
        counts=counts,
        not_measured=_not_measured(held, counts),
        lost=space.ids(lost),
        stranded=space.ids(missing[stranded]),
        late=space.ids(late),
        late_by_ns=late_by_ns,
        duplicated=space.ids(seen.duplicated),
        corrupted=space.ids(seen.corrupted),
        reordered=space.ids(reordered),
        resurrected=space.ids(resurrected),
        unexpected=seen.unexpected,
        dating=seen.dating,
        extra_rows=seen.extra_rows,
        lost_prefix=prefix,
        lost_middle=middle,
        lost_suffix=suffix,
    )


def merge(parts: Sequence[Ledger]) -> Ledger:
    """Return the ledger of all producers from ledgers over disjoint producers; at least one."""
    columns = zip(*(part.counts.as_dict().values() for part in parts), strict=True)

    def together(name: str) -> Records:
        return np.concatenate([getattr(part, name) for part in parts])

    return Ledger(
        counts=Counts(*map(sum, columns)),
        not_measured=frozenset[str]().union(*(part.not_measured for part in parts)),
        lost=together("lost"),
        stranded=together("stranded"),
        late=together("late"),
        late_by_ns=max(part.late_by_ns for part in parts),
        duplicated=together("duplicated"),
        corrupted=together("corrupted"),
        reordered=together("reordered"),
        resurrected=together("resurrected"),
        unexpected=together("unexpected"),
        dating=sum((part.dating for part in parts), Dating()),
        extra_rows=sum(part.extra_rows for part in parts),
        lost_prefix=sum(part.lost_prefix for part in parts),
        lost_middle=sum(part.lost_middle for part in parts),
        lost_suffix=sum(part.lost_suffix for part in parts),
    )


def _minted(space: Space, intent_at: Ranks, ids: Records) -> Places:
    """Return the places of the ids that were minted, one for each such id."""
    places = space.places(ids)
    places = places[places >= 0]
    sent: Places = places[intent_at[places] != NOWHERE]
    return sent


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rows show.

    Attributes:
        position: for each place the rank of its first row among all rows, or ``NOWHERE``;
            rows with the same position have the same rank.
        duplicated, corrupted: places.
        extra_rows: rows beyond the first of each event.
        dating: how the times of the rows agree with those of their events.
        first_ns: for each place when its first row was persisted, ``_NEVER`` where none bears a
            time; empty where nothing can be late.
    """

    position: Ranks
    duplicated: Places
    corrupted: Places
    unexpected: Records
    extra_rows: int
    dating: Dating
    first_ns: Numbers


def _read_rows(laid: Layout, held: Held) -> _Seen:
    """Go through the rows once, in the order of persisting."""
    space, intent_at, intents = laid.space, laid.intent_at, laid.operations.intents
    position = np.full(space.size, NOWHERE)
    order = sorting(held.rows["position"]) if held.positions_measured else None
    again: list[Places] = [np.empty(0, np.intp)]
    altered: list[Places] = [np.empty(0, np.intp)]
    foreign: list[Records] = [np.empty(0, ROW)]
    tied, dating = _Tied(), Dating()
    first_ns = np.full(space.size if held.late_measured else 0, _NEVER)
    for part in chunks(len(held.rows)):
        rows = held.rows[part] if order is None else taken(held.rows, order[part])
        places, ranks = space.places(rows), indices(part, len(held.rows))
        if held.positions_measured:
            tied.add(rows["position"], ranks)
        known = (places >= 0) & (intent_at[places] != NOWHERE if space.size else False)
        if not known.all():
            foreign.append(rows[~known])
            rows, places, ranks = rows[known], places[known], ranks[known]
        fresh = position[places] == NOWHERE
        # Of several rows in one chunk the last assignment counts, so the first goes last.
        position[places[fresh][::-1]] = ranks[fresh][::-1]
        again.append(places[position[places] != ranks])
        sent = intent_at[places]
        if held.hashes_measured:
            altered.append(places[rows["payload_hash"] != intents["payload_hash"][sent]])
        if held.times_measured:
            dating += _dating(rows["persisted_ns"], intents["sent_ns"][sent], held.collected_ns)
        if held.late_measured:
            dated = rows["persisted_ns"] != UNDATED
            np.minimum.at(first_ns, places[dated], rows["persisted_ns"][dated])
    repeats = np.concatenate(again)
    tied.level(position)
    return _Seen(
        position,
        np.unique(repeats),
        np.unique(np.concatenate(altered)),
        np.concatenate(foreign),
        len(repeats),
        dating,
        first_ns,
    )


def _late(laid: Layout, held: Held, first_ns: Numbers) -> tuple[Places, int]:
    """Return the places of late events, and the most by which one came after its ack."""
    if not held.late_measured or held.redelivered_after_ns is None:
        return np.empty(0, np.intp), 0
    acked_ns, outcomes = np.full(laid.space.size, _NEVER), laid.operations.outcomes
    acks = np.flatnonzero(outcomes["status"] == Status.ACKED)
    np.minimum.at(acked_ns, laid.outcome_at[acks], outcomes["done_ns"][acks])
    late = np.zeros(laid.space.size, bool)
    for struck_ns in held.struck_ns:
        late |= (acked_ns <= struck_ns) & (first_ns >= struck_ns)
    # A worker takes an event about when it is acked, and works on it after it got it again.
    late &= (first_ns != _NEVER) & (first_ns - acked_ns >= held.redelivered_after_ns)
    places = np.flatnonzero(late)
    return places, int((first_ns[places] - acked_ns[places]).max(initial=0))


def _dating(persisted_ns: Numbers, sent_ns: Numbers, collected_ns: int | None) -> Dating:
    dated = persisted_ns != UNDATED
    early = dated & (persisted_ns < sent_ns - CLOCK_NS)
    late = np.zeros(len(dated), bool)
    if collected_ns is not None:
        late = dated & (persisted_ns > collected_ns + CLOCK_NS)
    # As floats, since no time that a target gives may overflow.
    off_ns = sent_ns[early].astype(float) - persisted_ns[early]
    ahead_ns = persisted_ns[late].astype(float) - (collected_ns or 0)
    most_ns = max(off_ns.max(initial=0), ahead_ns.max(initial=0))
    return Dating(len(dated), _n(~dated), _n(early), _n(late), int(most_ns))


class _Tied:
    """Collects the rows whose position is that of the row before: no order is between them."""

    def __init__(self) -> None:
        self._ranks: list[Ranks] = []
        self._last: int | None = None

    def add(self, positions: npt.NDArray[np.int64], ranks: Ranks) -> None:
        """Take the next rows in order."""
        if positions[0] == self._last:
            self._ranks.append(ranks[:1])
        same = positions[1:] == positions[:-1]
        if same.any():
            self._ranks.append(ranks[1:][same])
        self._last = int(positions[-1])

    def level(self, ranks: Ranks) -> None:
        """Count in ranks, in place, all rows with the same position as one."""
        if self._ranks:
            shared = np.concatenate(self._ranks)
            known = ranks != NOWHERE
            ranks[known] -= np.searchsorted(shared, ranks[known], side="right").astype(np.uint32)


def _where(space: Space, lost: Places, delivered: Flags) -> tuple[int, int, int]:
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
    operations = counts.acked + counts.refused + counts.unknown
    held = counts.delivered + counts.lost + counts.held
    if counts.sent != operations or counts.acked != held:
        raise LedgerError(f"the classes of the ledger do not add up: {counts.as_dict()}")


def _not_measured(held: Held, counts: Counts) -> frozenset[str]:
    # Where no event is missing, none can be held anywhere, whoever was asked.
    unasked = held.pending_doubted and counts.lost > 0
    missing = {
        "corrupted": held.hashes_measured,
        "reordered": held.positions_measured,
        "stranded": held.stranded_measured and not unasked,
        # The store may have told of some.
        "pending": counts.pending > 0 or not unasked,
        "late": held.late_measured,
    }
    return frozenset(name for name, measured in missing.items() if not measured)


def _n(flags: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))

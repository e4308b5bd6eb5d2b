"""Puts every event into one class: what producers were told against what was persisted.

Pure: arrays in, ledger out. Ids ``(producer, sequence)`` are dense, so each event has a
place in arrays of the length of all events, and one pass over each input is enough. Large
ledgers go through compiled loops where Numba is installed (``harness.ledger.compiled``);
what is here is the same in NumPy, and both are held to the same tests.

| m = rows persisted | m = 0 | m >= 1 |
|---|---|---|
| acked | lost, or dead-lettered, or pending | delivered |
| unknown | unresolved | recovered |
| refused | refused | resurrected |
| never sent | – | unexpected |
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import numpy.typing as npt

from harness.errors import LedgerError
from harness.ledger.ordering import Order, find_reordered, sorting
from harness.ledger.records import ROW, Held, Ledger, Records, Told
from harness.ledger.space import NOWHERE, Flags, Places, Ranks, Space, chunks, indices
from harness.model import Counts

# Events from which on compiled loops are worth the second and the 60 MiB that loading them
# takes: NumPy needs as long for some ten million.
COMPILED_FROM = 5_000_000

# What a producer was told, ordered by what binds most: when one event has two outcomes, a
# yes was promised, and a silence may have had an effect; only a lone refusal is a refusal.
_NEVER_SENT, _REFUSED, _UNKNOWN, _ACKED = range(4)
_RANK_OF_STATUS = np.array([_UNKNOWN, _ACKED, _REFUSED], np.uint8)


def reconcile(told: Told, held: Held, *, as_of: int | None = None) -> Ledger:
    """Compare what producers were told with what the target holds.

    Args:
        told: what the producers' journals say.
        held: what the target holds after settling.
        as_of: events by whose number it is chosen which loops do it; those of ``told`` by
            default. A sample of a run is so put on the same way as the run.

    Reordered are the events B for which an event A of the same producer was acked before B
    was sent, and yet persisted after B. An unknown event in the dead letters stays
    unresolved: the producer does not know of it. A refused one there stays refused until it
    is replayed: then it has a row, and is resurrected. An acked event that is persisted and
    also dead-lettered or pending counts as delivered.

    Raises:
        LedgerError: the journals contradict themselves, or hold more than can be counted.
    """
    most = max(len(told.intents), len(told.outcomes), len(held.rows))
    if most >= NOWHERE:
        raise LedgerError(
            f"{most} records are more than one ledger can number; judge the producers in "
            "several groups and merge their ledgers"
        )
    if (len(told.intents) if as_of is None else as_of) >= COMPILED_FROM:
        with suppress(ImportError):
            # Imported only here: the compiler's library takes longer than a small ledger.
            compiled = import_module("harness.ledger.compiled")
            ledger: Ledger = compiled.reconcile_compiled(told, held, _not_measured(held))
            _check_sums(ledger.counts)
            return ledger
    return reconcile_by_arrays(told, held)


def reconcile_from(first: int, told: Told, held: Held) -> Ledger:
    """Do what ``reconcile`` does for the producers from one on, as if they began with 0."""
    if not first:
        return reconcile(told, held)
    ledger = reconcile(
        Told(_renumbered(told.intents, -first), _renumbered(told.outcomes, -first)),
        replace(
            held,
            rows=_renumbered(held.rows, -first),
            dead_lettered=_renumbered(held.dead_lettered, -first),
            pending=_renumbered(held.pending, -first),
        ),
    )
    return replace(
        ledger,
        lost=_renumbered(ledger.lost, first),
        duplicated=_renumbered(ledger.duplicated, first),
        corrupted=_renumbered(ledger.corrupted, first),
        reordered=_renumbered(ledger.reordered, first),
        resurrected=_renumbered(ledger.resurrected, first),
        unexpected=_renumbered(ledger.unexpected, first),
    )


def _renumbered(records: Records, by: int) -> Records:
    renumbered: Records = records.copy()
    producers = renumbered["producer"]
    producers += np.array(by).astype(producers.dtype)
    return renumbered


def reconcile_by_arrays(told: Told, held: Held) -> Ledger:
    """Do what ``reconcile`` does, by NumPy alone."""
    space = Space.of(told.intents)
    intent_at = _intents_at(space, told.intents)
    status = _statuses(space, told.outcomes, intent_at)
    seen = _read_rows(space, told.intents, intent_at, held)
    persisted = seen.position != NOWHERE
    acked = status == _ACKED
    missing = np.flatnonzero(acked & ~persisted)
    dead = np.isin(missing, space.known_places(held.dead_lettered))
    pending = ~dead & np.isin(missing, space.known_places(held.pending))
    lost = missing[~dead & ~pending]
    resurrected = np.flatnonzero((status == _REFUSED) & persisted)
    reordered = find_reordered(space, told, Order(intent_at, seen.position, acked), held)
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


def merge(parts: Sequence[Ledger]) -> Ledger:
    """Return the ledger of all producers from ledgers over disjoint producers; at least one."""
    columns = zip(*(part.counts.as_dict().values() for part in parts), strict=True)

    def together(name: str) -> Records:
        return np.concatenate([getattr(part, name) for part in parts])

    return Ledger(
        counts=Counts(*map(sum, columns)),
        not_measured=frozenset[str]().union(*(part.not_measured for part in parts)),
        lost=together("lost"),
        duplicated=together("duplicated"),
        corrupted=together("corrupted"),
        reordered=together("reordered"),
        resurrected=together("resurrected"),
        unexpected=together("unexpected"),
        extra_rows=sum(part.extra_rows for part in parts),
        lost_prefix=sum(part.lost_prefix for part in parts),
        lost_middle=sum(part.lost_middle for part in parts),
        lost_suffix=sum(part.lost_suffix for part in parts),
    )


def _intents_at(space: Space, intents: Records) -> Ranks:
    """Return for each place the index of its intent; ``NOWHERE`` where none was sent."""
    at = np.full(space.size, NOWHERE)
    for part in chunks(len(intents)):
        at[space.places(intents[part])] = indices(part, len(intents))
    sent = _n(at != NOWHERE)
    if sent != len(intents):
        raise LedgerError(
            f"{len(intents) - sent} events were intended twice under the same id; "
            "two load processes may have shared a shard number"
        )
    return at


def _statuses(space: Space, outcomes: Records, intent_at: Ranks) -> npt.NDArray[np.uint8]:
    status = np.zeros(space.size, np.uint8)
    for part in chunks(len(outcomes)):
        chosen = outcomes[part]
        places = space.places(chosen)
        if (places < 0).any() or (intent_at[places] == NOWHERE).any():
            raise LedgerError("an outcome is recorded for an event that was never intended")
        if (chosen["status"] >= len(_RANK_OF_STATUS)).any():
            raise LedgerError("an outcome has a status that does not exist")
        np.maximum.at(status, places, _RANK_OF_STATUS[chosen["status"]])
    status[(intent_at != NOWHERE) & (status == _NEVER_SENT)] = _UNKNOWN
    return status


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rows show.

    Attributes:
        position: for each place the rank of its first row among all rows, or ``NOWHERE``;
            rows with the same position have the same rank.
        duplicated, corrupted: places.
        unexpected: rows.
        extra_rows: rows beyond the first of each event.
    """

    position: Ranks
    duplicated: Places
    corrupted: Places
    unexpected: Records
    extra_rows: int


def _read_rows(space: Space, intents: Records, intent_at: Ranks, held: Held) -> _Seen:
    """Go through the rows once, in the order of persisting."""
    position = np.full(space.size, NOWHERE)
    order = sorting(held.rows["position"]) if held.positions_measured else None
    again: list[Places] = [np.empty(0, np.intp)]
    altered: list[Places] = [np.empty(0, np.intp)]
    foreign: list[Records] = [np.empty(0, ROW)]
    tied = _Tied()
    for part in chunks(len(held.rows)):
        rows = held.rows[part] if order is None else held.rows[order[part]]
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
        if held.hashes_measured:
            expected = intents["payload_hash"][intent_at[places]]
            altered.append(places[rows["payload_hash"] != expected])
    repeats = np.concatenate(again)
    tied.level(position)
    return _Seen(
        position,
        np.unique(repeats),
        np.unique(np.concatenate(altered)),
        np.concatenate(foreign),
        len(repeats),
    )


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
    told = counts.acked + counts.refused + counts.unknown
    held = counts.delivered + counts.lost + counts.dead_lettered + counts.pending
    if counts.sent != told or counts.acked != held:
        raise LedgerError(f"the classes of the ledger do not add up: {counts.as_dict()}")


def _not_measured(held: Held) -> frozenset[str]:
    missing = {"corrupted": held.hashes_measured, "reordered": held.positions_measured}
    return frozenset(name for name, measured in missing.items() if not measured)


def _n(flags: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))

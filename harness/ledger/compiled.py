"""The ledger of many events, by compiled loops; gives what ``harness.ledger.reconcile`` gives.

Memory beyond the input is nine bytes for each event: the index of its intent, the rank of
its first row, and one byte of flags. Both ways are held to the same tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import LedgerError
from harness.ledger import kernels
from harness.ledger.records import Held, Ledger, Records, Told
from harness.ledger.space import NOWHERE, Places, Ranks, Space, largest_dense
from harness.model import Counts

# Positions are taken relative to a little before the first row's: later rows of a run lie
# above it, and those of workers that were slower to commit a little below.
_BELOW_FIRST = 1 << 30
_PROBLEMS = (
    "",
    "an outcome is recorded for an event that was never intended",
    "an outcome has a status that does not exist",
)


@dataclass(frozen=True, slots=True)
class _Rows:
    position: Ranks
    foreign: Places
    extra: int


def reconcile_compiled(told: Told, held: Held, not_measured: frozenset[str]) -> Ledger:
    """Put every event into its class.

    Raises:
        LedgerError: the journals contradict themselves.
    """
    events = len(told.intents)
    lengths, ordered, top, largest = kernels.survey(told.intents, largest_dense(events))
    space = Space(events, int(top) + 1, int(largest), lengths)
    at, twice = kernels.index_intents(told.intents, space.bases)
    if twice:
        raise LedgerError(
            f"{twice} events were intended twice under the same id; "
            "two load processes may have shared a shard number"
        )
    state = np.zeros(space.size, np.uint8)
    rows = _read_rows(space, told, held, at, state)
    late = 0
    if held.positions_measured:
        late, _ = kernels.suspect(told.intents, at, rows.position, space.bases, ordered, state)
    problem, places, acked_ns = kernels.read_outcomes(
        told.outcomes, at, space.bases, state, late
    )
    if problem:
        raise LedgerError(_PROBLEMS[problem])
    reordered = _reordered(space, told, at, rows.position, state, places, acked_ns)
    state[space.known_places(held.dead_lettered)] |= np.uint8(kernels.DEAD)
    state[space.known_places(held.pending)] |= np.uint8(kernels.PENDING)
    tally = kernels.classify(at, rows.position, space.bases, state).tolist()
    return _ledger(space, held, rows, state, tally, reordered, not_measured)


def _read_rows(
    space: Space, told: Told, held: Held, at: Ranks, state: kernels.States
) -> _Rows:
    rows = held.rows
    ranks, low = np.empty(0, np.uint32), 0
    if not held.positions_measured:
        ranks = np.arange(len(rows), dtype=np.uint32)
    elif len(rows):
        low = max(int(rows["position"][0]) - _BELOW_FIRST, np.iinfo(np.int64).min)
    for attempt in (ranks, None):
        if attempt is None:
            # Positions too far apart for 32 bits: their ranks are not.
            ranks = _ranks(rows)
            state[:] = 0
        position, foreign, extra, fitted = kernels.read_rows(
            rows, ranks, low, told.intents, at, space.bases, state, held.hashes_measured
        )
        if fitted:
            break
    if held.positions_measured and len(foreign):
        foreign = foreign[np.argsort(rows["position"][foreign], kind="stable")]
    return _Rows(position, foreign, extra)


def _ranks(rows: Records) -> Ranks:
    """Return each row's rank by position; rows with the same position share it."""
    order = np.argsort(rows["position"], kind="stable")
    positions = rows["position"][order]
    ranks = np.zeros(len(rows), np.uint32)
    ranks[order[1:]] = np.cumsum(positions[1:] != positions[:-1], dtype=np.uint32)
    return ranks


def _reordered(
    space: Space,
    told: Told,
    at: Ranks,
    position: Ranks,
    state: kernels.States,
    late: Places,
    acked_ns: kernels.Int64s,
) -> Places:
    """Return the events that overtook an earlier acked one of their producer."""
    if not len(late):
        return np.empty(0, np.intp)
    early = np.flatnonzero(state & np.uint8(kernels.EARLY))
    sent_ns = told.intents["sent_ns"][at[early]]
    by, of = space.producers(early), space.producers(late)
    in_order, by_ack = np.lexsort((sent_ns, by)), np.lexsort((acked_ns, of))
    found = kernels.overtaking(
        of[by_ack],
        acked_ns[by_ack],
        position[late[by_ack]],
        by[in_order],
        sent_ns[in_order],
        position[early[in_order]],
    )
    return np.asarray(early[in_order][found], np.intp)


def _ledger(
    space: Space,
    held: Held,
    rows: _Rows,
    state: kernels.States,
    tally: list[int],
    reordered: Places,
    not_measured: frozenset[str],
) -> Ledger:
    def named(bit: int, entry: int) -> Records:
        return space.ids(kernels.marked(state, bit, tally[entry]))

    return Ledger(
        counts=_counts(tally, len(reordered), len(rows.foreign)),
        not_measured=not_measured,
        lost=named(kernels.LOST, kernels.LOST_N),
        duplicated=named(kernels.DUPLICATED, kernels.DUPLICATED_N),
        corrupted=named(kernels.CORRUPTED, kernels.CORRUPTED_N),
        reordered=space.ids(reordered),
        resurrected=named(kernels.RESURRECTED, kernels.RESURRECTED_N),
        unexpected=held.rows[rows.foreign],
        extra_rows=rows.extra,
        lost_prefix=tally[kernels.PREFIX_N],
        lost_middle=tally[kernels.MIDDLE_N],
        lost_suffix=tally[kernels.SUFFIX_N],
    )


def _counts(tally: list[int], reordered: int, unexpected: int) -> Counts:
    return Counts(
        sent=tally[kernels.SENT_N],
        acked=tally[kernels.ACKED_N],
        refused=tally[kernels.REFUSED_N],
        unknown=tally[kernels.UNKNOWN_N],
        delivered=tally[kernels.DELIVERED_N],
        lost=tally[kernels.LOST_N],
        dead_lettered=tally[kernels.DEAD_N],
        pending=tally[kernels.PENDING_N],
        recovered=tally[kernels.RECOVERED_N],
        unresolved=tally[kernels.UNKNOWN_N] - tally[kernels.RECOVERED_N],
        resurrected=tally[kernels.RESURRECTED_N],
        unexpected=unexpected,
        duplicated=tally[kernels.DUPLICATED_N],
        corrupted=tally[kernels.CORRUPTED_N],
        reordered=reordered,
    )

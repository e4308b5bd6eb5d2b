"""The ledger of many events, by compiled loops; gives what ``harness.ledger.reconcile`` gives.

Memory beyond the input is nine bytes for each event: the index of its intent, the rank of
its first row, and one byte of flags. Both ways are held to the same tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harness.errors import LedgerError
from harness.ledger import kernels
from harness.ledger.records import Held, Ledger, Records, Told
from harness.ledger.space import Flags, Places, Ranks, Space, check_dense, largest_dense
from harness.model import Counts

# Positions are taken relative to a little before the first row's: later rows of a run lie
# above it, and those of workers that were slower to commit a little below.
_BELOW_FIRST = 1 << 30
_FIRST_ROOM = 1024
_PROBLEMS = (
    "",
    "an outcome is recorded for an event that was never intended",
    "an outcome has a status that does not exist",
)


def reconcile_compiled(told: Told, held: Held, not_measured: frozenset[str]) -> Ledger:
    """Put every event into its class.

    Raises:
        LedgerError: the journals contradict themselves.
    """
    space, ordered = _survey(told.intents)
    at, twice = kernels.index_intents(told.intents, space.bases)
    if twice:
        raise LedgerError(
            f"{twice} events were intended twice under the same id; "
            "two load processes may have shared a shard number"
        )
    return _Work(told, held, space, ordered, at).ledger(not_measured)


def _survey(intents: Records) -> tuple[Space, Flags]:
    """Return the space of the intents, and whose sequences come in the order of sending."""
    bound, room, at = largest_dense(len(intents)), _FIRST_ROOM, 0
    lengths, last = np.zeros(room, np.int64), np.full(room, np.iinfo(np.int64).min)
    ordered = np.ones(room, np.bool_)
    while (at := kernels.survey(intents, at, bound, lengths, last, ordered)) < len(intents):
        producer, sequence = int(intents["producer"][at]), int(intents["sequence"][at])
        check_dense(producer + 1, len(intents), "producers")
        check_dense(sequence, len(intents), "sequences")
        more = max(2 * len(lengths), producer + 1) - len(lengths)
        lengths, last = np.pad(lengths, (0, more)), np.pad(last, (0, more))
        ordered = np.pad(ordered, (0, more), constant_values=True)
    count = int(np.flatnonzero(lengths)[-1]) + 1 if len(intents) else 0
    return Space(len(intents), lengths[:count]), ordered


@dataclass(slots=True)
class _Work:
    """One reconciliation on its way; each step adds its bits to ``state``."""

    told: Told
    held: Held
    space: Space
    ordered: Flags
    at: Ranks
    state: kernels.States = field(init=False)
    position: Ranks = field(init=False)
    foreign: Places = field(init=False)
    extra_rows: int = 0

    def __post_init__(self) -> None:
        self.state = np.zeros(self.space.size, np.uint8)

    def ledger(self, not_measured: frozenset[str]) -> Ledger:
        """Go through rows, outcomes and dead letters, and name what they show."""
        self._read_rows()
        reordered = self._reordered(*self._read_outcomes(self._suspects()))
        for bit, ids in (
            (kernels.DEAD, self.held.dead_lettered),
            (kernels.PENDING, self.held.pending),
        ):
            self.state[self.space.known_places(ids)] |= np.uint8(bit)
        found = kernels.classify(self.at, self.position, self.space.bases, self.state)
        return self._named(found.tolist(), reordered, not_measured)

    def _read_rows(self) -> None:
        rows, measured = self.held.rows, self.held.positions_measured
        ranks, low = np.empty(0, np.uint32), 0
        if not measured:
            ranks = np.arange(len(rows), dtype=np.uint32)
        elif len(rows):
            low = max(int(rows["position"][0]) - _BELOW_FIRST, np.iinfo(np.int64).min)
        if not self._read(ranks, low):
            # Positions too far apart for 32 bits: their ranks are not.
            self.state[:] = 0
            self._read(_ranks(rows), 0)
        if measured and len(self.foreign):
            order = np.argsort(rows["position"][self.foreign], kind="stable")
            self.foreign = self.foreign[order]

    def _read(self, ranks: Ranks, low: int) -> bool:
        self.position, self.foreign, self.extra_rows, fitted = kernels.read_rows(
            self.held.rows,
            ranks,
            low,
            self.told.intents,
            self.at,
            self.space.bases,
            self.state,
            self.held.hashes_measured,
        )
        return fitted

    def _suspects(self) -> int:
        """Mark what may have been overtaken or have overtaken; count the former."""
        if not self.held.positions_measured:
            return 0
        return kernels.suspect(
            self.told.intents, self.at, self.position, self.space.bases, self.ordered, self.state
        )

    def _read_outcomes(self, late: int) -> tuple[Places, kernels.Int64s]:
        """Learn what producers were told; return the acks of LATE events and their times."""
        outcomes, begin, found = self.told.outcomes, 0, 0
        acks = np.empty(late, np.intp), np.empty(late, np.int64)
        while begin < len(outcomes):
            problem, begin, found = kernels.read_outcomes(
                outcomes, begin, self.at, self.space.bases, self.state, acks, found
            )
            if problem:
                raise LedgerError(_PROBLEMS[problem])
            if begin < len(outcomes):
                # Some were acked more than once.
                acks = (np.pad(acks[0], (0, found + 1)), np.pad(acks[1], (0, found + 1)))
        return acks[0][:found], acks[1][:found]

    def _reordered(self, late: Places, acked_ns: kernels.Int64s) -> Places:
        """Return the events that overtook an earlier acked one of their producer."""
        if not len(late):
            return np.empty(0, np.intp)
        early = np.flatnonzero(self.state & np.uint8(kernels.EARLY))
        sent_ns = self.told.intents["sent_ns"][self.at[early]]
        by, of = self.space.producers(early), self.space.producers(late)
        in_order, by_ack = np.lexsort((sent_ns, by)), np.lexsort((acked_ns, of))
        found = kernels.overtaking(
            of[by_ack],
            acked_ns[by_ack],
            self.position[late[by_ack]],
            by[in_order],
            sent_ns[in_order],
            self.position[early[in_order]],
        )
        return np.asarray(early[in_order][found], np.intp)

    def _named(self, tally: list[int], reordered: Places, not_measured: frozenset[str]) -> Ledger:
        def named(bit: int, entry: int) -> Records:
            return self.space.ids(kernels.marked(self.state, bit, tally[entry]))

        return Ledger(
            counts=_counts(tally, len(reordered), len(self.foreign)),
            not_measured=not_measured,
            lost=named(kernels.LOST, kernels.LOST_N),
            duplicated=named(kernels.DUPLICATED, kernels.DUPLICATED_N),
            corrupted=named(kernels.CORRUPTED, kernels.CORRUPTED_N),
            reordered=self.space.ids(reordered),
            resurrected=named(kernels.RESURRECTED, kernels.RESURRECTED_N),
            unexpected=self.held.rows[self.foreign],
            extra_rows=self.extra_rows,
            lost_prefix=tally[kernels.PREFIX_N],
            lost_middle=tally[kernels.MIDDLE_N],
            lost_suffix=tally[kernels.SUFFIX_N],
        )


def _ranks(rows: Records) -> Ranks:
    """Return each row's rank by position; rows with the same position share it."""
    order = np.argsort(rows["position"], kind="stable")
    positions = rows["position"][order]
    ranks = np.zeros(len(rows), np.uint32)
    ranks[order[1:]] = np.cumsum(positions[1:] != positions[:-1], dtype=np.uint32)
    return ranks


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

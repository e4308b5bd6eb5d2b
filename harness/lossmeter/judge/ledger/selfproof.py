"""Every run proves its own judge: known faults are planted in a copy and must be found.

The proof is exact: the ledger of the copy must differ from the real one by what was
planted, event by event and class by class, and by nothing else. Where to plant is read from
the records themselves, never from the ledger that is on trial: one that is blind would
otherwise choose what it is tested on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.judge.ledger.space import Flags, Places
from lossmeter.model import Status
from lossmeter.record.arrays import PAIR, Held, Operations, Records, keys, taken

PLANTED_EACH = 3

# A proof on this many events shows as much as one on all of them, and costs less.
LARGEST_SAMPLE = 100_000

# What a ledger lists one by one.
_NAMED = (
    *("lost", "stranded", "late", "duplicated", "corrupted", "reordered"),
    *("resurrected", "unexpected"),
)

# Neighbours that are tried, in random order, before a run is said to offer none to swap.
_TRIES = 50

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of planted fault.

    Attributes:
        name: dropped, duplicated, swapped, altered, invented, stranded or late.
        planted: how many were planted; 0 when the run offers no place for it.
        note: why nothing could be planted, or what came out differently.
    """

    name: str
    planted: int
    found: int
    note: str = ""

    @property
    def ok(self) -> bool:
        """Return whether exactly the planted were found."""
        return self.planted == self.found and not self.note.startswith("also")

    def __str__(self) -> str:
        operations = f"{self.name}: {self.planted} planted, {self.found} found"
        return f"{operations} ({self.note})" if self.note else operations


def prove(operations: Operations, held: Held, seed: int) -> list[Check]:
    """Plant known faults, one kind at a time, and look for them.

    Raises:
        LedgerError: the journals contradict themselves.
    """
    events = len(operations.intents)
    sample = ProofSample(events, int(operations.intents["producer"].max()) + 1 if events else 0)
    sample.add(operations, held)
    trial = _Trial(*sample.all(), seed)
    return [
        trial.dropped(),
        trial.duplicated(),
        trial.swapped(),
        trial.altered(),
        trial.invented(),
        trial.stranded(),
        trial.late(),
    ]


class ProofSample:
    """The first events of the first producers of a run, so that ids stay dense."""

    def __init__(self, events: int, producers: int) -> None:
        self._every = events <= LARGEST_SAMPLE
        self._producers = min(producers, LARGEST_SAMPLE)
        self._each = LARGEST_SAMPLE // max(1, self._producers)
        self._parts: list[tuple[Operations, Held]] = []

    def add(self, operations: Operations, held: Held) -> None:
        """Take what belongs to the sample from some of the run's producers."""
        if not self._every:
            operations = Operations(self._kept(operations.intents), self._kept(operations.outcomes))
            held = replace(
                held,
                rows=self._kept(held.rows),
                dead_lettered=self._kept(held.dead_lettered),
                pending=self._kept(held.pending),
                stranded=self._kept(held.stranded),
            )
        self._parts.append((operations, held))

    def _kept(self, records: Records) -> Records:
        first = (records["producer"] < self._producers) & (records["sequence"] < self._each)
        return taken(records, np.flatnonzero(first))

    def all(self) -> tuple[Operations, Held]:
        """Return the sample; at least one part was added."""
        operations, held = self._parts[0]
        if len(self._parts) == 1:
            return operations, held

        def together(name: str, place: int) -> Records:
            return np.concatenate([getattr(part[place], name) for part in self._parts])

        return Operations(together("intents", 0), together("outcomes", 0)), replace(
            held,
            rows=together("rows", 1),
            dead_lettered=together("dead_lettered", 1),
            pending=together("pending", 1),
            stranded=together("stranded", 1),
            positions_measured=all(part.positions_measured for _, part in self._parts),
        )


@dataclass(frozen=True, slots=True)
class _Plain:
    """Rows of events that were acked once, persisted once, in time and unaltered, and nowhere else.

    Attributes:
        rows: indices into the rows.
        sent_ns, acked_ns: of the events of these rows.
    """

    rows: Places
    sent_ns: Numbers
    acked_ns: Numbers

    def kept(self, keep: Flags | Places | slice) -> _Plain:
        return _Plain(self.rows[keep], self.sent_ns[keep], self.acked_ns[keep])


class _Trial:
    """One run, or a sample of it, and the ledger that is on trial."""

    def __init__(self, operations: Operations, held: Held, seed: int) -> None:
        self._described, self._held = operations, held
        self._base = reconcile(operations, held)
        self._random = np.random.default_rng(seed)
        self._plain = _plain(operations, held)

    def dropped(self) -> Check:
        rows = self._choose()
        after = self._again(np.delete(self._held.rows, rows))
        return self._gone("dropped", rows, after, "lost")

    def stranded(self) -> Check:
        rows = self._choose()
        ids = self._held.rows[rows][list(PAIR.names or ())].astype(PAIR)
        held = np.concatenate([self._held.stranded, ids])
        after = self._again(np.delete(self._held.rows, rows), stranded=held)
        return self._gone("stranded", rows, after, "stranded")

    def _gone(self, name: str, rows: Places, after: Ledger, kind: str) -> Check:
        moved = {kind: len(rows), "delivered": -len(rows)}
        # Without A, nobody has overtaken A; so the number of reordered may only shrink.
        fewer = min(0, after.counts.reordered - self._base.counts.reordered)
        return self._check(name, rows, after, kind, moved | {"reordered": fewer})

    def late(self) -> Check:
        held, after_ns = self._held, self._held.redelivered_after_ns
        if not held.late_measured or after_ns is None:
            return Check("late", 0, 0, "when the broker gives an event again is not known")
        struck_ns = max(held.struck_ns, default=None)
        if struck_ns is None:
            return Check("late", 0, 0, "no fault struck")
        rows = self._choose(self._plain.acked_ns <= struck_ns)
        copy = held.rows.copy()
        copy["persisted_ns"][rows] = struck_ns + after_ns
        return self._check("late", rows, self._again(copy), "late", {"late": len(rows)})

    def duplicated(self) -> Check:
        rows = self._choose()
        after = self._again(np.concatenate([self._held.rows, self._held.rows[rows]]))
        if after.extra_rows != self._base.extra_rows + len(rows):
            extra = after.extra_rows - self._base.extra_rows
            return Check("duplicated", len(rows), extra, "also changed: rows beyond the first")
        return self._check("duplicated", rows, after, "duplicated", {"duplicated": len(rows)})

    def altered(self) -> Check:
        if not self._held.hashes_measured:
            return Check("altered", 0, 0, "payloads are not measured on this target")
        rows = self._choose()
        copy = self._held.rows.copy()
        copy["payload_hash"][rows] ^= 1
        after = self._again(copy)
        return self._check("altered", rows, after, "corrupted", {"corrupted": len(rows)})

    def invented(self) -> Check:
        intents = self._described.intents
        if not len(intents):
            return Check("invented", 0, 0, "nothing was sent")
        invented = np.zeros(PLANTED_EACH, self._held.rows.dtype)
        # Beyond the last sequence, beyond the last producer, and not an id at all.
        invented["producer"] = [0, int(intents["producer"].max()) + 1, -1]
        invented["sequence"] = [int(intents["sequence"].max()) + 1, 0, -1]
        rows = np.concatenate([self._held.rows, invented])
        planted = np.arange(len(self._held.rows), len(rows))
        after = self._again(rows)
        return self._check(
            "invented", planted, after, "unexpected", {"unexpected": PLANTED_EACH}, rows
        )

    def swapped(self) -> Check:
        if not self._held.positions_measured:
            return Check("swapped", 0, 0, "order of persisting is not measured on this target")
        pair = self._neighbours()
        if pair is None:
            none = "no event was acked before the next of its producer was sent"
            return Check("swapped", 0, 0, none)
        copy = self._held.rows.copy()
        copy["position"][pair] = copy["position"][pair[::-1]]
        return self._check("swapped", pair[1:], self._again(copy), "reordered", {"reordered": 1})

    def _again(self, rows: Records, stranded: Records | None = None) -> Ledger:
        left = self._held.stranded if stranded is None else stranded
        return reconcile(self._described, replace(self._held, rows=rows, stranded=left))

    def _choose(self, among: Flags | slice = np.s_[:]) -> Places:
        return self._random.permutation(self._plain.rows[among])[:PLANTED_EACH]

    def _check(  # noqa: PLR0913, PLR0917 - a check names all that it compares
        self,
        name: str,
        planted: Places,
        after: Ledger,
        kind: str,
        expected: Mapping[str, int],
        rows: Records | None = None,
    ) -> Check:
        """Compare two ledgers: the counts of every class, and every id that they list."""
        known = keys(getattr(self._base, kind))
        new = keys(getattr(after, kind))
        wanted = keys((self._held.rows if rows is None else rows)[planted])
        # Counted among what is reported: a row may be invented that the run held already.
        found = int(np.isin(new, wanted).sum()) - int(np.isin(known, wanted).sum())
        before, now = self._base.counts.as_dict(), after.counts.as_dict()
        odd = [n for n in now if now[n] != before[n] + expected.get(n, 0)]
        more = {kind: wanted}
        odd += [n for n in _NAMED if n not in odd and not self._listed(n, after, more.get(n))]
        if odd:
            return Check(name, len(planted), found, f"also changed: {', '.join(odd)}")
        none = "" if len(planted) else "the run offers no row for it"
        return Check(name, len(planted), found, none)

    def _listed(self, name: str, after: Ledger, more: npt.NDArray[np.int64] | None) -> bool:
        """Return whether a ledger lists what it did before and what was planted, no id else."""
        known, new = keys(getattr(self._base, name)), keys(getattr(after, name))
        if more is None and len(new) < len(known):
            # How many have gone is compared already; those that are left were there.
            return bool(np.isin(new, known).all())
        wanted = known if more is None else np.concatenate([known, more])
        return bool(np.array_equal(np.sort(new), np.sort(wanted)))

    def _neighbours(self) -> Places | None:
        """Return rows (A, B) of which a swap makes B reordered and changes nothing else.

        B is the next row of the same producer, and no third row shares a position with one
        of them, so no third event changes sides; A was acked before B was sent; and nobody
        has overtaken B, nor B anybody, so far.
        """
        rows = self._held.rows
        rank, alone = _ranks(rows)
        plain = self._plain.kept(np.argsort(rank[self._plain.rows]))
        first, second = plain.kept(np.s_[:-1]), plain.kept(np.s_[1:])
        usable = rank[second.rows] == rank[first.rows] + 1
        usable &= rows["producer"][first.rows] == rows["producer"][second.rows]
        usable &= alone[first.rows] & alone[second.rows]
        usable &= (first.acked_ns < second.sent_ns) & (second.acked_ns >= first.sent_ns)
        for at in self._random.permutation(np.flatnonzero(usable))[:_TRIES]:
            if not self._is_overtaken(second.rows[at], int(second.sent_ns[at])):
                return np.array([first.rows[at], second.rows[at]])
        return None

    def _is_overtaken(self, row: int, sent_ns: int) -> bool:
        """Return whether an event acked before this one was sent came after it, by any ack."""
        rows, outcomes = self._held.rows, self._described.outcomes
        producer, position = rows["producer"][row], rows["position"][row]
        rows = rows[rows["producer"] == producer]
        later = np.setdiff1d(
            keys(rows[rows["position"] > position]), keys(rows[rows["position"] <= position])
        )
        before = outcomes[(outcomes["producer"] == producer) & (outcomes["done_ns"] < sent_ns)]
        return bool(np.isin(keys(before), later).any())


def _plain(operations: Operations, held: Held) -> _Plain:
    acked = _single(operations.outcomes)
    acked = acked[operations.outcomes["status"][acked] == Status.ACKED]
    rows = _single(held.rows)
    row_keys, acked_keys = keys(taken(held.rows, rows)), keys(taken(operations.outcomes, acked))
    _, at_row, at_ack = np.intersect1d(
        row_keys, acked_keys, assume_unique=True, return_indices=True
    )
    rows, acked = rows[at_row], acked[at_ack]
    intent_keys = keys(operations.intents)
    order = np.argsort(intent_keys)
    # Both in the same order, so that looking up goes through memory once.
    intents = order[np.searchsorted(intent_keys[order], row_keys[at_row])]
    sent, row = taken(operations.intents, intents), taken(held.rows, rows)
    elsewhere = np.concatenate(
        [keys(each) for each in (held.dead_lettered, held.pending, held.stranded)]
    )
    keep = ~np.isin(keys(row), elsewhere)
    # The key of a foreign row may be that of another id, so the ids themselves must agree.
    keep &= (row["producer"] == sent["producer"]) & (row["sequence"] == sent["sequence"])
    if held.hashes_measured:
        keep &= row["payload_hash"] == sent["payload_hash"]
    if held.late_measured and held.redelivered_after_ns is not None:
        for struck_ns in held.struck_ns:
            done_ns = operations.outcomes["done_ns"][acked]
            around = (done_ns <= struck_ns) & (row["persisted_ns"] >= struck_ns)
            keep &= ~around | (row["persisted_ns"] - done_ns < held.redelivered_after_ns)
    return _Plain(rows, sent["sent_ns"], operations.outcomes["done_ns"][acked]).kept(keep)


def _single(records: Records) -> Places:
    """Return the indices of the records whose id occurs once."""
    _, first, times = np.unique(keys(records), return_index=True, return_counts=True)
    return np.asarray(first[times == 1], np.intp)


def _ranks(rows: Records) -> tuple[Places, Flags]:
    """Return each row's rank by producer and position, and whether no other row has both."""
    order = np.lexsort((rows["position"], rows["producer"]))
    producers, positions = rows["producer"][order], rows["position"][order]
    tied = (producers[1:] == producers[:-1]) & (positions[1:] == positions[:-1])
    shared = np.append(tied, False) | np.append(False, tied)
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    return rank, ~shared[rank]

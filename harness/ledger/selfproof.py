"""Every run proves its own judge: known faults are planted in a copy and must be found.

The proof is exact: the ledger of the copy must differ from the real one by what was
planted, event by event, and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.ledger.reconcile import reconcile
from harness.ledger.records import Held, Ledger, Records, Told, keys

PLANTED_EACH = 3

# A proof on this many events shows as much as one on all of them, and costs less.
LARGEST_SAMPLE = 200_000


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of planted fault.

    Attributes:
        name: dropped, duplicated, swapped, altered or invented.
        planted: how many were planted; 0 when the run offers no place for it.
        found: how many of them the ledger reported.
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
        told = f"{self.name}: {self.planted} planted, {self.found} found"
        return f"{told} ({self.note})" if self.note else told


def prove(told: Told, held: Held, seed: int) -> list[Check]:
    """Plant known faults, one kind at a time, and look for them.

    Args:
        told: what the producers' journals say; it is not changed.
        held: what the target holds; it is not changed.
        seed: chooses the rows.
    """
    told, held = _sample(told, held)
    base = reconcile(told, held)
    random = np.random.default_rng(seed)
    rows = _clean_rows(base, held)
    chosen = rows[random.permutation(len(rows))[: 4 * PLANTED_EACH]]
    dropped, doubled, altered = (chosen[i * PLANTED_EACH :][:PLANTED_EACH] for i in range(3))
    return [
        _dropped(told, held, base, dropped),
        _duplicated(told, held, base, doubled),
        _swapped(told, held, base, random),
        _altered(told, held, base, altered),
        _invented(told, held, base),
    ]


def _sample(told: Told, held: Held) -> tuple[Told, Held]:
    """Keep the first producers, so many that the sample is large enough."""
    if len(told.intents) <= LARGEST_SAMPLE:
        return told, held
    sizes = np.bincount(told.intents["producer"])
    last = int(np.searchsorted(np.cumsum(sizes), LARGEST_SAMPLE))
    kept = Told(*(_up_to(part, last) for part in (told.intents, told.outcomes)))
    return kept, replace(
        held,
        rows=_up_to(held.rows, last),
        dead_lettered=_up_to(held.dead_lettered, last),
        pending=_up_to(held.pending, last),
    )


def _up_to(records: Records, producer: int) -> Records:
    return records[records["producer"] <= producer]


def _clean_rows(base: Ledger, held: Held) -> npt.NDArray[np.intp]:
    """Return the rows whose event is in no class but delivered or recovered."""
    tainted = [base.duplicated, base.corrupted, base.reordered, base.resurrected]
    apart = np.concatenate([keys(ids) for ids in tainted])
    known = held.rows["producer"] >= 0
    known &= ~np.isin(keys(held.rows), keys(base.unexpected))
    return np.flatnonzero(known & ~np.isin(keys(held.rows), apart))


def _dropped(told: Told, held: Held, base: Ledger, rows: npt.NDArray[np.intp]) -> Check:
    after = reconcile(told, replace(held, rows=np.delete(held.rows, rows)))
    gone = keys(held.rows[rows])
    missing = base.counts.lost + base.counts.dead_lettered + base.counts.pending
    missing += base.counts.unresolved
    counts = after.counts
    now = counts.lost + counts.dead_lettered + counts.pending + counts.unresolved
    lost = np.setdiff1d(keys(after.lost), keys(base.lost))
    strange = len(np.setdiff1d(lost, gone))
    return _check("dropped", len(rows), now - missing, strange)


def _duplicated(told: Told, held: Held, base: Ledger, rows: npt.NDArray[np.intp]) -> Check:
    doubled = np.concatenate([held.rows, held.rows[rows]])
    after = reconcile(told, replace(held, rows=doubled))
    new = np.setdiff1d(keys(after.duplicated), keys(base.duplicated))
    strange = len(np.setdiff1d(new, keys(held.rows[rows])))
    strange += abs(after.extra_rows - base.extra_rows - len(rows))
    return _check("duplicated", len(rows), len(new), strange)


def _altered(told: Told, held: Held, base: Ledger, rows: npt.NDArray[np.intp]) -> Check:
    if not held.hashes_measured:
        return Check("altered", 0, 0, "payloads are not measured on this target")
    copy = held.rows.copy()
    copy["payload_hash"][rows] ^= 1
    after = reconcile(told, replace(held, rows=copy))
    new = np.setdiff1d(keys(after.corrupted), keys(base.corrupted))
    strange = len(np.setdiff1d(new, keys(held.rows[rows])))
    return _check("altered", len(rows), len(new), strange)


def _invented(told: Told, held: Held, base: Ledger) -> Check:
    if not len(told.intents):
        return Check("invented", 0, 0, "nothing was sent")
    invented = np.zeros(PLANTED_EACH, held.rows.dtype)
    # Beyond the last sequence, beyond the last producer, and not an id at all.
    invented["producer"] = [0, int(told.intents["producer"].max()) + 1, -1]
    invented["sequence"] = [int(told.intents["sequence"].max()) + 1, 0, -1]
    after = reconcile(told, replace(held, rows=np.concatenate([held.rows, invented])))
    new = after.counts.unexpected - base.counts.unexpected
    return _check("invented", len(invented), new, after.counts.delivered - base.counts.delivered)


def _swapped(told: Told, held: Held, base: Ledger, random: np.random.Generator) -> Check:
    if not held.positions_measured:
        return Check("swapped", 0, 0, "order of persisting is not measured on this target")
    pairs = _neighbours(told, held, base)
    if not len(pairs):
        return Check("swapped", 0, 0, "no event was acked before the next of its producer was sent")
    first, second = pairs[random.integers(len(pairs))]
    copy = held.rows.copy()
    copy["position"][[first, second]] = copy["position"][[second, first]]
    after = reconcile(told, replace(held, rows=copy))
    new = np.setdiff1d(keys(after.reordered), keys(base.reordered))
    strange = len(np.setdiff1d(new, keys(held.rows[[second]])))
    return _check("swapped", 1, len(new), strange)


def _neighbours(told: Told, held: Held, base: Ledger) -> npt.NDArray[np.intp]:
    """Return pairs of rows (A, B) of which a swap makes B reordered and changes nothing else.

    B is the next row of the same producer, so no third event lies between them; A was acked
    before B was sent; and both are persisted once.
    """
    rows = _clean_rows(base, held)
    in_order = rows[np.lexsort((held.rows["position"][rows], held.rows["producer"][rows]))]
    first, second = in_order[:-1], in_order[1:]
    same = held.rows["producer"][first] == held.rows["producer"][second]
    same &= _adjacent(held, first, second)
    first, second = first[same], second[same]
    acked_ns = _lookup(told.outcomes[told.outcomes["status"] == 1], "done_ns", held.rows[first])
    sent_ns = _lookup(told.intents, "sent_ns", held.rows[second])
    usable = (acked_ns > 0) & (acked_ns < sent_ns)
    return np.stack([first[usable], second[usable]], axis=1)


def _adjacent(
    held: Held, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Return whether no row of the producer, clean or not, lies between first and second."""
    order = np.lexsort((held.rows["position"], held.rows["producer"]))
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[second] == rank[first] + 1)


def _lookup(records: Records, field: str, ids: Records) -> npt.NDArray[np.int64]:
    """Return the field of the record with each id; 0 where there is none."""
    wanted = keys(ids)
    if not len(records):
        return np.zeros(len(wanted), np.int64)
    known = keys(records)
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    found = known[order][at] == wanted
    return np.where(found, records[field][order][at], 0)


def _check(name: str, planted: int, found: int, strange: int) -> Check:
    if strange:
        return Check(name, planted, found, f"also {abs(strange)} events that were not planted")
    return Check(name, planted, found, "" if planted else "the run offers no row for it")

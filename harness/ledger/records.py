"""What goes into the ledger and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.model import Counts

Records = npt.NDArray[np.void]

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


def keys(ids: Records) -> npt.NDArray[np.uint64]:
    """Return one number for each id; sequences of a run stay far below 2**40."""
    producers = ids["producer"].astype(np.uint64)
    return (producers << np.uint64(40)) ^ ids["sequence"].astype(np.uint64)


def of_each(records: Records, name: str, ids: Records) -> npt.NDArray[np.int64]:
    """Return a time of each id, of the first record that is its; every id has one.

    Args:
        records: intents, outcomes or rows, in any order.
        name: of their field.
        ids: anything with ``producer`` and ``sequence``.
    """
    own = keys(records)
    order = np.argsort(own, kind="stable")
    at = np.searchsorted(own, keys(ids), sorter=order)
    return np.asarray(records[name][order[at]], np.int64)

"""The arrays of a run: the answers that producers got, and what the target holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
# Signed, since ids from outside may be anything: what nobody minted must stay what it is.
PAIR = np.dtype([("producer", "<i8"), ("sequence", "<i8")])

# The time of a row that bears none, or an infinite one.
UNDATED = int(np.iinfo(np.int64).min)

# Ids that can have been minted; loads are far smaller.
_SEQUENCE_BITS = 32
_PRODUCERS, _SEQUENCES = 1 << 31, 1 << _SEQUENCE_BITS


@dataclass(frozen=True, slots=True)
class Operations:
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
        times_measured: the rows bear times.
        collected_ns: when the last of them had been read, wall clock; None where unknown.
        stranded: dtype PAIR; what the broker holds without an owner, for longer than it promises.
        stranded_measured: the broker was asked for it.
        pending_doubted: the broker may hold events that were not found in it.
        redelivered_after_ns: after how long the broker gives an event again; None if unknown.
        struck_ns: when faults struck, wall clock.
    """

    rows: Records
    dead_lettered: Records
    pending: Records
    hashes_measured: bool = True
    positions_measured: bool = True
    times_measured: bool = True
    collected_ns: int | None = None
    stranded: Records = field(default_factory=lambda: np.empty(0, PAIR))
    stranded_measured: bool = False
    pending_doubted: bool = False
    redelivered_after_ns: int | None = None
    struck_ns: tuple[int, ...] = ()

    @property
    def late_measured(self) -> bool:
        """Return whether rows and broker tell what came only after a redelivery."""
        return self.times_measured and self.redelivered_after_ns is not None


def keys(ids: Records) -> npt.NDArray[np.int64]:
    """Return one number for each id; -1 for each that cannot have been minted."""
    producers, sequences = ids["producer"], ids["sequence"]
    minted = (producers >= 0) & (producers < _PRODUCERS)
    minted &= (sequences >= 0) & (sequences < _SEQUENCES)
    numbers = (producers.astype(np.int64) << _SEQUENCE_BITS) | sequences.astype(np.int64)
    return np.where(minted, numbers, -1)


def taken(records: Records, at: npt.NDArray[np.integer[Any]]) -> Records:
    """Return some records by their indices.

    As bytes: NumPy copies a record with names field by field, which takes six times as long.
    """
    size = np.dtype((np.void, records.dtype.itemsize))
    found: Records = records.view(size).take(at).view(records.dtype)
    return found


def of_each(records: Records, name: str, ids: Records) -> npt.NDArray[np.int64]:
    """Return a time of each id, of the first record that is its; every id has one."""
    own = keys(records)
    order = np.argsort(own, kind="stable")
    at = np.searchsorted(own, keys(ids), sorter=order)
    return np.asarray(records[name][order[at]], np.int64)

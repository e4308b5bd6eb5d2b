"""The format of stage marks, which a dispatcher writes and the harness reads.

A dispatcher that marks stages writes one file per
process lifetime, ``stages-BOOTID.bin``, into ``{run_folder}``. Little-endian: a header of 64 bytes
(magic ``LOSSMRK1``, boot id as 32 characters, u64 capacity in records, i64 start of the
lifetime in ns since the epoch, u32 flags, u32 marks without room; flag 1: what is queued
outlives the process), then records of 24 bytes: u64 sequence, i64 time in ns since the
epoch, u32 producer, u8 stage, 3 bytes of padding. A record of stage 0 ends the file. The
greatest producer and sequence stand for every event of the lifetime.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lossmeter.errors import LedgerError
from lossmeter.experiment import Step
from lossmeter.record.arrays import Records, keys, taken

MAGIC = b"LOSSMRK1"
HEADER = struct.Struct("<8s32sQqII")
RECORD = np.dtype(
    {
        "names": ["sequence", "at_ns", "producer", "stage"],
        "formats": ["<u8", "<i8", "<u4", "u1"],
        "offsets": [0, 8, 16, 20],
        "itemsize": 24,
    }
)
SURVIVES = 1
EVERY = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

MARK = np.dtype(
    [
        ("producer", "<u4"),
        ("sequence", "<u8"),
        ("at_ns", "<i8"),
        ("stage", "u1"),
        ("life", "<u2"),
    ]
)


class Stage(IntEnum):
    """How far an event came: the numbers of the marks, and what follows from their absence.

    Attributes:
        step: where an event with this last mark is, before its producer has an answer; None
            where it is on no step of the way.
        words: what an event was lost to that came so far and no farther.
    """

    UNMARKED = 0, None, "without a mark"
    ACCEPTED = 1, Step.ACCEPTED, "not yet queued"
    REFUSED = 2, None, "refused, though acked"
    QUEUED = 3, Step.ENQUEUED, "queued"
    TAKEN = 4, Step.DEQUEUED, "in hand"
    HANDLING = 5, Step.DEQUEUED, "in hand"
    RETRYING = 6, Step.DEQUEUED, "waiting for retry"
    PERSISTED = 7, Step.INSERTED, "persisted, then gone from the database"
    ACKNOWLEDGED = 8, Step.COMMITTED, "persisted, then gone from the database"
    DEAD_LETTERED = 9, None, "dead letter gone"
    DROPPED = 10, None, "given up, no dead-letter queue"
    OVERFLOWED = 11, None, "dead-letter overflow"
    UNLETTERED = 12, None, "dead-letter queue away"
    REQUEUED = 13, Step.ENQUEUED, "queued"
    CLOSING = 14, None, "closing"
    ABANDONED = 15, None, "abandoned at shutdown"
    # Queued, in a queue that outlives the process: no dispatcher marks that.
    IN_BROKER = 16, None, "acked but not durable in the broker"

    step: Step | None
    words: str

    def __new__(cls, number: int, step: Step | None = None, words: str = "") -> Self:
        """Make a member whose value is the number alone."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.step, member.words = step, words
        return member


# Ids are told apart by so many bits before they are compared; a large odd number spreads them.
_BITS = (1 << 18) - 1
_SPREAD = np.uint32(2_654_435_761)

# Beyond these no dispatcher marks an event.
MARKS = range(Stage.ACCEPTED, Stage.IN_BROKER)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One process lifetime of a dispatcher that marks.

    Attributes:
        survives: what is queued outlives the process.
        overflow: marks for which there was no room.
    """

    boot_id: str
    started_ns: int
    survives: bool
    overflow: int


@dataclass(frozen=True, slots=True)
class Marks:
    """All marks of a run.

    Attributes:
        records: dtype MARK, in the order of marking within each lifetime.
        lifetimes: oldest first; ``records["life"]`` is an index into it.
    """

    records: Records
    lifetimes: Sequence[Lifetime]

    @property
    def overflow(self) -> int:
        """Return how many marks found no room."""
        return sum(each.overflow for each in self.lifetimes)


def parse_header(data: bytes) -> Lifetime:
    """Read the head of one file.

    Raises:
        LedgerError: it is none of this version.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise LedgerError("a file of stage marks is not of this version")
    _, boot_id, _, started_ns, flags, overflow = HEADER.unpack_from(data)
    return Lifetime(
        boot_id.decode("ascii", "replace"), started_ns, bool(flags & SURVIVES), overflow
    )


def parse_records(data: bytes) -> Records:
    """Return the finished records of a part of one file that begins with a record.

    Raises:
        LedgerError: a stage does not exist.
    """
    records = np.frombuffer(data, RECORD, len(data) // RECORD.itemsize)
    unfinished = np.flatnonzero(records["stage"] == 0)
    records = records[: unfinished[0]] if len(unfinished) else records
    if len(records) and int(records["stage"].max()) not in MARKS:
        raise LedgerError("a file of stage marks holds a stage that does not exist")
    return records


def of_lifetime(number: int, records: Records) -> Records:
    """Return the records of one file as marks of a process lifetime, dtype MARK."""
    marks = np.empty(len(records), MARK)
    for name in ("producer", "sequence", "at_ns", "stage"):
        marks[name] = records[name]
    marks["life"] = number
    return marks


def concerning(marks: Records, ids: npt.NDArray[np.int64]) -> Records:
    """Return the marks of some events, given by their sorted keys, and those of every event."""
    producers = np.ascontiguousarray(marks["producer"])
    chosen = producers == EVERY[0]
    if len(ids):
        # Nearly all marks are of other events: most of them are told by a few bits already.
        maybe = np.zeros(_BITS + 1, bool)
        maybe[_bits(ids >> 32, ids)] = True
        at = np.flatnonzero(maybe[_bits(producers, marks["sequence"])])
        own = keys(taken(marks, at))
        chosen[at] |= ids[np.minimum(np.searchsorted(ids, own), len(ids) - 1)] == own
    return taken(marks, np.flatnonzero(chosen))


def _bits(
    producers: npt.NDArray[np.integer[Any]], sequences: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.uint32]:
    """Return a small number for each id, the same for the same."""
    spread = producers.astype(np.uint32) * _SPREAD + sequences.astype(np.uint32)
    return spread & np.uint32(_BITS)

"""What each lost event died of, from the marks that its dispatcher left.

Pure: bytes and arrays in, arrays out. A dispatcher that marks stages writes one file per
life, ``stages-BOOTID.bin``, into ``{run_folder}``. Little-endian: a header of 64 bytes
(magic ``LOSSMRK1``, boot id as 32 characters, u64 capacity in records, i64 start of the
life in ns since the epoch, u32 flags, u32 marks without room; flag 1: what is queued
outlives the process), then records of 24 bytes: u64 sequence, i64 time in ns since the
epoch, u32 producer, u8 stage, 3 bytes of padding. A record of stage 0 ends the file. The
greatest producer and sequence stand for every event of the life.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from harness.errors import LedgerError
from harness.ledger.records import Ledger, Records, Told, keys, of_each
from harness.model import Status

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
LOST = np.dtype(
    [
        ("producer", "<u4"),
        ("sequence", "<u8"),
        ("sent_ns", "<i8"),
        ("acked_ns", "<i8"),
        ("marked_ns", "<i8"),
        ("died", "u1"),
        ("when", "u1"),
    ]
)


class Stage(IntEnum):
    """How far an event came; the numbers are the dispatcher's."""

    ACCEPTED = 1
    REFUSED = 2
    QUEUED = 3
    TAKEN = 4
    HANDLING = 5
    RETRYING = 6
    PERSISTED = 7
    ACKNOWLEDGED = 8
    DEAD_LETTERED = 9
    DROPPED = 10
    OVERFLOWED = 11
    UNLETTERED = 12
    REQUEUED = 13
    CLOSING = 14
    ABANDONED = 15


class Died(IntEnum):
    """What a lost event died of."""

    UNMARKED = 0
    ACCEPTED = 1
    QUEUED = 2
    IN_HAND = 3
    RETRYING = 4
    ABANDONED = 5
    BROKER = 6
    DROPPED = 7
    OVERFLOWED = 8
    UNLETTERED = 9
    LETTER_GONE = 10
    DATABASE = 11
    REFUSED = 12

    @property
    def words(self) -> str:
        """Return it as people say it."""
        return _WORDS[self]


_WORDS = {
    Died.UNMARKED: "without a mark",
    Died.ACCEPTED: "not yet queued",
    Died.QUEUED: "queued",
    Died.IN_HAND: "in hand",
    Died.RETRYING: "waiting for retry",
    Died.ABANDONED: "abandoned at shutdown",
    Died.BROKER: "acked but not durable in the broker",
    Died.DROPPED: "given up, no dead-letter queue",
    Died.OVERFLOWED: "dead-letter overflow",
    Died.UNLETTERED: "dead-letter queue away",
    Died.LETTER_GONE: "dead letter gone",
    Died.DATABASE: "persisted, then gone from the database",
    Died.REFUSED: "refused, though acked",
}


class When(IntEnum):
    """When a lost event was under way, against the fault."""

    NO_FAULT = 0
    BEFORE = 1
    ACROSS = 2
    DURING = 3
    AFTER = 4

    @property
    def words(self) -> str:
        """Return it as people say it."""
        return _WHEN[self]


_WHEN = {
    When.NO_FAULT: "without a fault",
    When.BEFORE: "acked before the fault",
    When.ACROSS: "sent before, acked after the fault",
    When.DURING: "sent while the fault held",
    When.AFTER: "sent after the fault",
}


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a dispatcher that marks.

    Attributes:
        boot_id: its own name for it.
        started_ns: wall clock.
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
        records: dtype MARK, in the order of marking within each life.
        lives: oldest first; ``records["life"]`` is an index into it.
    """

    records: Records
    lives: Sequence[Life]

    @property
    def overflow(self) -> int:
        """Return how many marks found no room."""
        return sum(life.overflow for life in self.lives)


# The end of one mark's meaning: what a life held in hand dies with it.
_DIED = {
    Stage.ACCEPTED: Died.ACCEPTED,
    Stage.REFUSED: Died.REFUSED,
    Stage.QUEUED: Died.QUEUED,
    Stage.REQUEUED: Died.QUEUED,
    Stage.TAKEN: Died.IN_HAND,
    Stage.HANDLING: Died.IN_HAND,
    Stage.RETRYING: Died.RETRYING,
    Stage.PERSISTED: Died.DATABASE,
    Stage.ACKNOWLEDGED: Died.DATABASE,
    Stage.DEAD_LETTERED: Died.LETTER_GONE,
    Stage.DROPPED: Died.DROPPED,
    Stage.OVERFLOWED: Died.OVERFLOWED,
    Stage.UNLETTERED: Died.UNLETTERED,
}
_DIED_OF = np.zeros(256, np.uint8)
for _stage, _died in _DIED.items():
    _DIED_OF[_stage] = _died


def parse_header(data: bytes) -> Life:
    """Read the head of one file.

    Raises:
        LedgerError: it is none of this version.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise LedgerError("a file of stage marks is not of this version")
    _, boot_id, _, started_ns, flags, overflow = HEADER.unpack_from(data)
    return Life(boot_id.decode("ascii", "replace"), started_ns, bool(flags & SURVIVES), overflow)


def parse_records(data: bytes) -> Records:
    """Return the finished records of a part of one file that begins with a record.

    Raises:
        LedgerError: a stage does not exist.
    """
    records = np.frombuffer(data, RECORD, len(data) // RECORD.itemsize)
    unfinished = np.flatnonzero(records["stage"] == 0)
    records = records[: unfinished[0]] if len(unfinished) else records
    if len(records) and int(records["stage"].max()) > max(Stage):
        raise LedgerError("a file of stage marks holds a stage that does not exist")
    return records


def of_life(number: int, records: Records) -> Records:
    """Return the records of one file as marks of a life, dtype MARK."""
    marks = np.empty(len(records), MARK)
    for name in ("producer", "sequence", "at_ns", "stage"):
        marks[name] = records[name]
    marks["life"] = number
    return marks


def combine(files: Sequence[tuple[Life, Records]]) -> Marks:
    """Put the files of all lives into one array."""
    ordered = sorted(files, key=lambda file: file[0].started_ns)
    parts = [of_life(number, records) for number, (_, records) in enumerate(ordered)]
    records = np.concatenate([np.empty(0, MARK), *parts])
    return Marks(records, [life for life, _ in ordered])


def concerning(marks: Records, ids: npt.NDArray[np.uint64]) -> Records:
    """Return the marks of some events, given by their sorted keys, and those of every event."""
    chosen = marks["producer"] == EVERY[0]
    if len(ids):
        own = keys(marks)
        chosen |= ids[np.minimum(np.searchsorted(ids, own), len(ids) - 1)] == own
    found: Records = marks[chosen]
    return found


def last_marks(marks: Records) -> Records:
    """Return for each event the mark that says how far it came, ordered by id.

    A worker may have taken an event before the queue's yes came back, so the marks of being
    accepted and queued count only for an event that has no other.
    """
    chosen = marks[marks["producer"] != EVERY[0]]
    first = np.isin(chosen["stage"], (Stage.ACCEPTED, Stage.QUEUED))
    # Stable, and lives are in order: the last of each id is the latest.
    order = np.lexsort((np.arange(len(chosen)), ~first, keys(chosen)))
    ordered = chosen[order]
    ids = keys(ordered)
    last = np.append(ids[1:] != ids[:-1], True) if len(ids) else np.empty(0, bool)
    latest: Records = ordered[last]
    return latest


def died_of(lost: Records, marks: Marks) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return for each lost event what it died of, and the time of its last mark or 0."""
    died = np.full(len(lost), Died.UNMARKED, np.uint8)
    at_ns = np.zeros(len(lost), np.int64)
    last = last_marks(marks.records)
    if not len(last) or not len(lost):
        return died, at_ns
    place = np.minimum(np.searchsorted(keys(last), keys(lost)), len(last) - 1)
    found = keys(last)[place] == keys(lost)
    mark = last[place[found]]
    survives = np.array([life.survives for life in marks.lives], bool)[mark["life"]]
    of = _DIED_OF[mark["stage"]]
    queued = of == Died.QUEUED
    given_up = np.zeros(len(marks.lives), bool)
    given_up[marks.records["life"][marks.records["stage"] == Stage.ABANDONED]] = True
    in_memory = np.isin(of, (Died.ACCEPTED, Died.IN_HAND, Died.RETRYING)) | (queued & ~survives)
    of[queued & survives] = Died.BROKER
    of[in_memory & given_up[mark["life"]]] = Died.ABANDONED
    died[found], at_ns[found] = of, mark["at_ns"]
    return died, at_ns


def when_lost(
    sent_ns: npt.NDArray[np.int64],
    acked_ns: npt.NDArray[np.int64],
    fault: tuple[int, int | None] | None,
) -> npt.NDArray[np.uint8]:
    """Place events by time against a fault.

    Args:
        sent_ns: when the events were sent, wall clock.
        acked_ns: when they were acked.
        fault: when it struck and when it was healed, None while it was not; None without.
    """
    if fault is None:
        return np.full(len(sent_ns), When.NO_FAULT, np.uint8)
    struck_ns, healed_ns = fault
    after = np.zeros(len(sent_ns), bool) if healed_ns is None else sent_ns > healed_ns
    when = np.where(after, When.AFTER, When.DURING)
    when = np.where(sent_ns <= struck_ns, When.ACROSS, when)
    return np.where(acked_ns <= struck_ns, When.BEFORE, when).astype(np.uint8)


def lost_events(
    told: Told, ledger: Ledger, marks: Marks, fault: tuple[int, int | None] | None
) -> Records:
    """Return each lost event with its times and what it died of, dtype LOST."""
    lost = np.zeros(len(ledger.lost), LOST)
    if not len(lost):
        return lost
    for name in ("producer", "sequence"):
        lost[name] = ledger.lost[name]
    lost["sent_ns"] = of_each(told.intents, "sent_ns", ledger.lost)
    acked = told.outcomes[told.outcomes["status"] == Status.ACKED]
    lost["acked_ns"] = of_each(acked, "done_ns", ledger.lost)
    lost["died"], lost["marked_ns"] = died_of(ledger.lost, marks)
    lost["when"] = when_lost(lost["sent_ns"], lost["acked_ns"], fault)
    return lost


def in_words(lost: Records) -> Records:
    """Return the same events with ``stage`` and ``when`` as text, for files that others read."""
    numbers = [name for name in LOST.names or () if name not in {"died", "when"}]
    fields = [(name, LOST[name]) for name in numbers]
    told = np.empty(len(lost), np.dtype([*fields, ("stage", "U48"), ("when", "U48")]))
    for name in numbers:
        told[name] = lost[name]
    told["stage"] = np.array([died.words for died in Died])[lost["died"]]
    told["when"] = np.array([when.words for when in When])[lost["when"]]
    return told


def by_stage(lost: Records) -> dict[str, int]:
    """Return how many events died of what; none without a mark, so a gap shows in the sum."""
    marked = lost["died"][lost["died"] != Died.UNMARKED]
    return _counted(marked, {died: died.words for died in Died})


def by_time(lost: Records) -> dict[str, int]:
    """Return how many events were lost when."""
    return _counted(lost["when"], {when: when.words for when in When})


def _counted(values: npt.NDArray[np.uint8], words: Mapping[int, str]) -> dict[str, int]:
    numbers = np.bincount(values, minlength=max(words) + 1)
    return {words[n]: int(numbers[n]) for n in words if numbers[n]}

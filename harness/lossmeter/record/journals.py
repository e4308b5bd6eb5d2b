"""Reads journals back, a part at a time or all into arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lossmeter.errors import LoadError
from lossmeter.model import Status
from lossmeter.record.arrays import INTENT as INTENT_DTYPE
from lossmeter.record.arrays import OUTCOME as OUTCOME_DTYPE
from lossmeter.record.arrays import Records, taken
from lossmeter.record.files import files_in, open_fd, open_regular
from lossmeter.record.journal_format import END, HEADER, INTENT, MAGIC, OUTCOME, RECORD, recorded

JOURNALS = "journal-*.bin"
_TAIL_RECORDS = 4096
_PART_RECORDS = 1 << 16
RECORD_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("status", "u1"),
        ("code", "<u2"),
        ("producer", "<u4"),
        ("sequence", "<u8"),
        ("scheduled_ns", "<i8"),
        ("at_ns", "<i8"),
        ("payload_hash", "<i8"),
    ]
)


# The same records by the names of their kind, so that neither is copied field by field.
_PLACES = {"producer": 4, "sequence": 8}
_INTENT_PLACES = _PLACES | {"sent_ns": 24, "scheduled_ns": 16, "payload_hash": 32}
_OUTCOME_PLACES = _PLACES | {"done_ns": 24, "status": 1, "code": 2}


def _named(dtype: np.dtype[np.void], places: Mapping[str, int]) -> np.dtype[np.void]:
    names = list(places)
    formats = [dtype[name] for name in names]
    return np.dtype(
        {
            "names": names,
            "formats": formats,
            "offsets": list(places.values()),
            "itemsize": RECORD.size,
        }
    )


_INTENT = _named(INTENT_DTYPE, _INTENT_PLACES)
_OUTCOME = _named(OUTCOME_DTYPE, _OUTCOME_PLACES)


@dataclass(frozen=True, slots=True)
class Heads:
    """What the journals of a run say as a whole.

    Attributes:
        events: intents in them.
        start_ns: when the first schedule began.
        complete: every journal was closed by its own load process, and none is torn.
        why_incomplete: one sentence, empty when complete.
        clock_jump_ns: by how much the wall clock jumped while a load process ran; of those
            that were closed.
    """

    events: int
    start_ns: int
    complete: bool
    why_incomplete: str
    clock_jump_ns: int


@dataclass(frozen=True, slots=True)
class Journals(Heads):
    """The journals of a run, all of them in memory."""

    intents: Records
    outcomes: Records


Take: TypeAlias = Callable[[Records, Records], None]
TakeRecords: TypeAlias = Callable[[Records], None]


def read_journals(folder: Path) -> Journals:
    """Read all journals of a run folder.

    Raises:
        LoadError: a file is not a journal.
    """
    pieces: list[Records] = [np.empty(0, RECORD_DTYPE)]
    heads = scan_records(folder, pieces.append)
    records = np.concatenate(pieces)
    return Journals(**asdict(heads), intents=intents_in(records), outcomes=outcomes_in(records))


def intents_in(records: Records) -> Records:
    """Return the intents among the records of a journal, with the fields of INTENT."""
    return _chosen(records, INTENT).view(_INTENT)


def outcomes_in(records: Records) -> Records:
    """Return the outcomes among the records of a journal, with the fields of OUTCOME."""
    return _chosen(records, OUTCOME).view(_OUTCOME)


def most_events(folder: Path) -> int:
    """Return how many events the journals of a run have room for, by the size of the files."""
    sizes = [path.lstat().st_size - HEADER.size for path in _files(folder)]
    return sum(max(0, size) // RECORD.size for size in sizes) // 2


def scan_journals(folder: Path, take: Take) -> Heads:
    """Read intents and outcomes of a run folder a part at a time; raises as ``scan_records``."""
    return scan_records(folder, lambda each: take(intents_in(each), outcomes_in(each)))


def scan_records(folder: Path, take: TakeRecords) -> Heads:
    """Read all journals of a run folder a part at a time, as they are; dtype RECORD_DTYPE.

    Raises:
        LoadError: a file is not a journal.
    """
    heads = [_scan(path, take) for path in _files(folder)]
    if not heads:
        return Heads(0, 0, complete=False, why_incomplete="no journal was written", clock_jump_ns=0)
    torn = (head.why_incomplete for head in heads if head.why_incomplete)
    why = _missing(heads) or next(torn, "")
    return Heads(
        sum(head.events for head in heads),
        min(head.start_ns for head in heads),
        not why,
        why,
        max(head.clock_jump_ns for head in heads),
    )


def first_due_ns(folder: Path) -> int | None:
    """Return when the first event of a run was due; None where the journals do not tell."""
    found: list[int] = []

    def take(intents: Records, outcomes: Records) -> None:
        del outcomes
        if len(intents):
            found.append(int(intents["scheduled_ns"].min()))

    with suppress(LoadError, OSError):
        scan_journals(folder, take)
    return min(found, default=None)


def acked_between(folder: Path, after_ns: int, until_ns: int) -> int:
    """Return how many events of a run were acked in a stretch of the wall clock.

    What cannot be read counts as none: whether it can is judged elsewhere.
    """
    acked = 0

    def take(intents: Records, outcomes: Records) -> None:
        nonlocal acked
        del intents
        done_ns = outcomes["done_ns"]
        within = (done_ns > after_ns) & (done_ns <= until_ns)
        acked += int(np.count_nonzero(within & (outcomes["status"] == Status.ACKED)))

    with suppress(LoadError, OSError):
        scan_journals(folder, take)
    return acked


def _files(folder: Path) -> list[Path]:
    return files_in(folder, JOURNALS)


@dataclass(frozen=True, slots=True)
class _Head:
    """What one journal says; it is that of load process ``shard`` of so many."""

    events: int
    start_ns: int
    why_incomplete: str
    clock_jump_ns: int
    shard: int
    shards: int


def _missing(heads: Sequence[_Head]) -> str:
    """Return which load processes left no journal, as one sentence, or an empty string."""
    shards = max(head.shards for head in heads)
    missing = sorted(set(range(shards)) - {head.shard for head in heads})
    if not missing:
        return ""
    return (
        f"journal-{missing[0]}.bin is missing: {len(missing)} of {shards} load processes left none"
    )


def _scan(path: Path, take: TakeRecords) -> _Head:
    """Read one journal."""
    with open_regular(path) as file:
        start = file.read(HEADER.size)
        if len(start) < HEADER.size or start[: len(MAGIC)] != MAGIC:
            raise LoadError(f"{path} is not a journal of this version")
        _, shard, _, _, start_ns, counted, shards = HEADER.unpack(start)
        size = os.fstat(file.fileno()).st_size - HEADER.size
        room = counted * RECORD.size
        whole, torn = divmod(min(size, room), RECORD.size)
        sent = jump_ns = 0
        last, strange = np.zeros(1, RECORD_DTYPE), False
        for begin in range(0, whole, _PART_RECORDS):
            records = np.fromfile(file, RECORD_DTYPE, min(_PART_RECORDS, whole - begin))
            take(records)
            kinds = np.bincount(records["kind"], minlength=END + 1)
            sent += int(kinds[INTENT])
            if kinds[END]:
                ends = records[records["kind"] == END]
                jump_ns = max([jump_ns, *ends["payload_hash"].tolist()])
            strange |= int(kinds[[INTENT, OUTCOME, END]].sum()) != len(records)
            last = records[-1:]
    why = f"{path.name} holds a torn record" if strange else ""
    why = why or _incomplete(path.name, last[0], sent, torn)
    if not why and size != room:
        why = f"{path.name} says {counted} records and holds {size // RECORD.size}"
    return _Head(sent, start_ns, why, jump_ns, shard, max(1, shards))


def _chosen(records: Records, kind: int) -> Records:
    return taken(records, np.flatnonzero(records["kind"] == kind))


def _incomplete(name: str, last: np.void, intents: int, torn: int) -> str:
    if torn:
        return f"{name} ends in the middle of a record"
    if last["kind"] != END:
        return f"{name} was not closed by its load process, which ended early"
    if last["sequence"] != intents:
        return f"{name} says {last['sequence']} intents and holds {intents}"
    return ""


class JournalTail:
    """The outcomes in the journals of a run that is under way, read as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, tuple[int, int]] = {}

    def new(self) -> Iterator[tuple[tuple[int, int], int]]:
        """Yield id and status of each outcome recorded since the last call."""
        for path in _files(self._folder):
            if path not in self._files:
                self._files[path] = open_fd(path), 0
            fd, at = self._files[path]
            count = min(recorded(fd) - at, _TAIL_RECORDS)
            if count <= 0:
                continue
            data = os.pread(fd, count * RECORD.size, HEADER.size + at * RECORD.size)
            self._files[path] = fd, at + count
            for kind, status, _, producer, sequence, *_ in RECORD.iter_unpack(data):
                if kind == OUTCOME:
                    yield (producer, sequence), status

    def close(self) -> None:
        """Close the journals."""
        for fd, _ in self._files.values():
            os.close(fd)

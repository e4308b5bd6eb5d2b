"""Reads journals back, a part at a time or all into arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from harness.errors import LoadError
from harness.ledger.records import INTENT as INTENT_DTYPE
from harness.ledger.records import OUTCOME as OUTCOME_DTYPE
from harness.ledger.records import Records
from harness.load.journal import (
    END,
    HEADER,
    INTENT,
    MAGIC,
    MAPPED,
    OUTCOME,
    RECORD,
    recorded,
)

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
    """The journals of a run, all of them in memory.

    Attributes:
        intents: dtype INTENT of the ledger.
        outcomes: dtype OUTCOME of the ledger.
    """

    intents: Records
    outcomes: Records


Take: TypeAlias = Callable[[Records, Records], None]


def read_journals(folder: Path) -> Journals:
    """Read all journals of a run folder.

    Raises:
        LoadError: a file is not a journal.
    """
    intents, outcomes = [np.empty(0, INTENT_DTYPE)], [np.empty(0, OUTCOME_DTYPE)]

    def take(sent: Records, told: Records) -> None:
        intents.append(sent)
        outcomes.append(told)

    heads = scan_journals(folder, take)
    return Journals(
        heads.events,
        heads.start_ns,
        heads.complete,
        heads.why_incomplete,
        heads.clock_jump_ns,
        np.concatenate(intents),
        np.concatenate(outcomes),
    )


def most_events(folder: Path) -> int:
    """Return how many events the journals of a run have room for, by the size of the files."""
    sizes = [path.stat().st_size - HEADER.size for path in _files(folder)]
    return sum(max(0, size) // RECORD.size for size in sizes) // 2


def scan_journals(folder: Path, take: Take) -> Heads:
    """Read all journals of a run folder a part at a time.

    Args:
        folder: of the run.
        take: gets the intents and the outcomes of each part, dtypes INTENT and OUTCOME of
            the ledger.

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


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal-*.bin"))


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


def _scan(path: Path, take: Take) -> _Head:
    """Read one journal."""
    with path.open("rb") as file:
        start = file.read(HEADER.size)
        if len(start) < HEADER.size or start[: len(MAGIC)] not in {MAGIC, MAPPED}:
            raise LoadError(f"{path} is not a journal of this version")
        magic, shard, _, _, start_ns, counted, shards = HEADER.unpack(start)
        size = path.stat().st_size - HEADER.size
        room = counted * RECORD.size if magic == MAPPED else size
        whole, torn = divmod(min(size, room), RECORD.size)
        sent = jump_ns = 0
        last, strange = np.zeros(1, RECORD_DTYPE), False
        for begin in range(0, whole, _PART_RECORDS):
            records = np.fromfile(file, RECORD_DTYPE, min(_PART_RECORDS, whole - begin))
            intents = _intents(records)
            sent += len(intents)
            take(intents, _outcomes(records))
            ends = records[records["kind"] == END]
            jump_ns = max([jump_ns, *ends["payload_hash"].tolist()])
            strange |= not np.isin(records["kind"], (INTENT, OUTCOME, END)).all()
            last = records[-1:]
    why = f"{path.name} holds a torn record" if strange else ""
    why = why or _incomplete(path.name, last[0], sent, torn)
    if not why and size != room:
        why = f"{path.name} says {counted} records and holds {size // RECORD.size}"
    return _Head(sent, start_ns, why, jump_ns, shard, max(1, shards))


def _intents(records: Records) -> Records:
    chosen = records[records["kind"] == INTENT]
    intents = np.empty(len(chosen), INTENT_DTYPE)
    for name in ("producer", "sequence", "scheduled_ns", "payload_hash"):
        intents[name] = chosen[name]
    intents["sent_ns"] = chosen["at_ns"]
    return intents


def _outcomes(records: Records) -> Records:
    chosen = records[records["kind"] == OUTCOME]
    outcomes = np.empty(len(chosen), OUTCOME_DTYPE)
    for name in ("producer", "sequence", "status", "code"):
        outcomes[name] = chosen[name]
    outcomes["done_ns"] = chosen["at_ns"]
    return outcomes


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
        for path in self._folder.glob("journal-*.bin"):
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY), 0
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

"""Reads journals back into arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import LoadError
from harness.ledger.records import INTENT as INTENT_DTYPE
from harness.ledger.records import OUTCOME as OUTCOME_DTYPE
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
class Journals:
    """The journals of a run.

    Attributes:
        intents: dtype INTENT of the ledger.
        outcomes: dtype OUTCOME of the ledger.
        start_ns: when the first schedule began.
        complete: every journal was closed by its own load process, and none is torn.
        why_incomplete: one sentence, empty when complete.
        clock_jump_ns: by how much the wall clock jumped while a load process ran; of those
            that were closed.
        shard, shards: of one journal, which of how many load processes wrote it.
    """

    intents: npt.NDArray[np.void]
    outcomes: npt.NDArray[np.void]
    start_ns: int
    complete: bool
    why_incomplete: str
    clock_jump_ns: int = 0
    shard: int = 0
    shards: int = 1


def read_journals(folder: Path) -> Journals:
    """Read all journals of a run folder.

    Raises:
        LoadError: a file is not a journal.
    """
    files = sorted(folder.glob("journal-*.bin"))
    if not files:
        none = np.empty(0, INTENT_DTYPE), np.empty(0, OUTCOME_DTYPE)
        return Journals(*none, 0, complete=False, why_incomplete="no journal was written")
    parts = [_read(path) for path in files]
    if len(parts) == 1 and not _missing(parts):
        return parts[0]
    why = _missing(parts) or next((p.why_incomplete for p in parts if not p.complete), "")
    return Journals(
        np.concatenate([part.intents for part in parts]),
        np.concatenate([part.outcomes for part in parts]),
        min(part.start_ns for part in parts),
        not why,
        why,
        max(part.clock_jump_ns for part in parts),
    )


def _missing(parts: list[Journals]) -> str:
    """Return which load processes left no journal, as one sentence, or an empty string."""
    shards = max(part.shards for part in parts)
    missing = sorted(set(range(shards)) - {part.shard for part in parts})
    if not missing:
        return ""
    return (
        f"journal-{missing[0]}.bin is missing: {len(missing)} of {shards} load processes left none"
    )


def _read(path: Path) -> Journals:
    """Read one journal, a part at a time: nothing of it is in memory twice."""
    with path.open("rb") as file:
        head = file.read(HEADER.size)
        if len(head) < HEADER.size or head[: len(MAGIC)] not in {MAGIC, MAPPED}:
            raise LoadError(f"{path} is not a journal of this version")
        magic, shard, _, _, start_ns, counted, shards = HEADER.unpack(head)
        size = path.stat().st_size - HEADER.size
        room = counted * RECORD.size if magic == MAPPED else size
        whole, torn = divmod(min(size, room), RECORD.size)
        # Of memory that is asked for only what is written to is taken.
        intents, outcomes = np.empty(whole, INTENT_DTYPE), np.empty(whole, OUTCOME_DTYPE)
        sent = told = jump_ns = 0
        last, strange = np.zeros(1, RECORD_DTYPE), False
        for begin in range(0, whole, _PART_RECORDS):
            records = np.fromfile(file, RECORD_DTYPE, min(_PART_RECORDS, whole - begin))
            sent += _intents(records, intents[sent:])
            told += _outcomes(records, outcomes[told:])
            ends = records[records["kind"] == END]
            jump_ns = max([jump_ns, *ends["payload_hash"].tolist()])
            strange |= not np.isin(records["kind"], (INTENT, OUTCOME, END)).all()
            last = records[-1:]
    intents.resize(sent, refcheck=False)
    outcomes.resize(told, refcheck=False)
    why = f"{path.name} holds a torn record" if strange else ""
    why = why or _incomplete(path.name, last[0], sent, torn)
    if not why and size != room:
        why = f"{path.name} says {counted} records and holds {size // RECORD.size}"
    return Journals(intents, outcomes, start_ns, not why, why, jump_ns, shard, max(1, shards))


def _intents(records: npt.NDArray[np.void], into: npt.NDArray[np.void]) -> int:
    chosen = records[records["kind"] == INTENT]
    for name in ("producer", "sequence", "scheduled_ns", "payload_hash"):
        into[name][: len(chosen)] = chosen[name]
    into["sent_ns"][: len(chosen)] = chosen["at_ns"]
    return len(chosen)


def _outcomes(records: npt.NDArray[np.void], into: npt.NDArray[np.void]) -> int:
    chosen = records[records["kind"] == OUTCOME]
    for name in ("producer", "sequence", "status", "code"):
        into[name][: len(chosen)] = chosen[name]
    into["done_ns"][: len(chosen)] = chosen["at_ns"]
    return len(chosen)


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

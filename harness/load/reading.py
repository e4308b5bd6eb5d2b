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
from harness.load.journal import END, HEADER, INTENT, MAGIC, OUTCOME, RECORD

_TAIL_BYTES = 4096 * RECORD.size
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
    """

    intents: npt.NDArray[np.void]
    outcomes: npt.NDArray[np.void]
    start_ns: int
    complete: bool
    why_incomplete: str
    clock_jump_ns: int = 0


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
    if len(parts) == 1:
        return parts[0]
    why = next((part.why_incomplete for part in parts if not part.complete), "")
    return Journals(
        np.concatenate([part.intents for part in parts]),
        np.concatenate([part.outcomes for part in parts]),
        min(part.start_ns for part in parts),
        all(part.complete for part in parts),
        why,
        max(part.clock_jump_ns for part in parts),
    )


def _read(path: Path) -> Journals:
    """Read one journal, a part at a time: nothing of it is in memory twice."""
    with path.open("rb") as file:
        header = file.read(HEADER.size)
        if len(header) < HEADER.size or not header.startswith(MAGIC):
            raise LoadError(f"{path} is not a journal of this version")
        whole, torn = divmod(path.stat().st_size - HEADER.size, RECORD.size)
        # Of memory that is asked for only what is written to is taken.
        intents, outcomes = np.empty(whole, INTENT_DTYPE), np.empty(whole, OUTCOME_DTYPE)
        sent = told = jump_ns = 0
        last = np.zeros(1, RECORD_DTYPE)
        for begin in range(0, whole, _PART_RECORDS):
            count = min(_PART_RECORDS, whole - begin)
            records = np.fromfile(file, RECORD_DTYPE, count)
            sent += _intents(records, intents[sent:])
            told += _outcomes(records, outcomes[told:])
            ends = records[records["kind"] == END]
            jump_ns = max([jump_ns, *ends["payload_hash"].tolist()])
            last = records[-1:]
    intents.resize(sent, refcheck=False)
    outcomes.resize(told, refcheck=False)
    why = _incomplete(path.name, last[0], sent, torn)
    return Journals(intents, outcomes, HEADER.unpack(header)[4], not why, why, jump_ns)


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
                self._files[path] = os.open(path, os.O_RDONLY), HEADER.size
            fd, at = self._files[path]
            data = os.pread(fd, _TAIL_BYTES, at)
            whole = len(data) // RECORD.size * RECORD.size
            self._files[path] = fd, at + whole
            for kind, status, _, producer, sequence, *_ in RECORD.iter_unpack(data[:whole]):
                if kind == OUTCOME:
                    yield (producer, sequence), status

    def close(self) -> None:
        """Close the journals."""
        for fd, _ in self._files.values():
            os.close(fd)

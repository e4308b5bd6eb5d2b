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
    data = path.read_bytes()
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise LoadError(f"{path} is not a journal of this version")
    start_ns = HEADER.unpack_from(data)[4]
    body = memoryview(data)[HEADER.size :]
    torn = len(body) % RECORD.size
    records = np.frombuffer(body[: len(body) - torn], RECORD_DTYPE)
    intents, outcomes = _intents(records), _outcomes(records)
    why = _incomplete(path.name, records, len(intents), torn)
    ends = records[records["kind"] == END]
    jump_ns = int(ends["payload_hash"].max()) if len(ends) else 0
    return Journals(intents, outcomes, start_ns, not why, why, jump_ns)


def _intents(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    chosen = records[records["kind"] == INTENT]
    intents = np.empty(len(chosen), INTENT_DTYPE)
    for name in ("producer", "sequence", "scheduled_ns", "payload_hash"):
        intents[name] = chosen[name]
    intents["sent_ns"] = chosen["at_ns"]
    return intents


def _outcomes(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    chosen = records[records["kind"] == OUTCOME]
    outcomes = np.empty(len(chosen), OUTCOME_DTYPE)
    for name in ("producer", "sequence", "status", "code"):
        outcomes[name] = chosen[name]
    outcomes["done_ns"] = chosen["at_ns"]
    return outcomes


def _incomplete(name: str, records: npt.NDArray[np.void], intents: int, torn: int) -> str:
    if torn:
        return f"{name} ends in the middle of a record"
    if not len(records) or records[-1]["kind"] != END:
        return f"{name} was not closed by its load process, which ended early"
    if records[-1]["sequence"] != intents:
        return f"{name} says {records[-1]['sequence']} intents and holds {intents}"
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

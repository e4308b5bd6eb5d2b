"""Reads journals back into arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import LoadError
from harness.ledger.records import INTENT as INTENT_DTYPE
from harness.ledger.records import OUTCOME as OUTCOME_DTYPE
from harness.load.journal import END, HEADER, INTENT, MAGIC, OUTCOME, RECORD

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
    """

    intents: npt.NDArray[np.void]
    outcomes: npt.NDArray[np.void]
    start_ns: int
    complete: bool
    why_incomplete: str


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
    return Journals(intents, outcomes, start_ns, not why, why)


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

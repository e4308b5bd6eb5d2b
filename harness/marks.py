"""The stage marks of a target, read from the files that it maps into memory.

The files lie in the run's own folder, outside the fault domain; a mark can be read as soon
as it is made, also while the target is frozen and after it was killed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from harness.errors import LedgerError
from harness.ledger.records import Records
from harness.ledger.stages import (
    HEADER,
    MARK,
    RECORD,
    Life,
    Marks,
    combine,
    parse_header,
    parse_records,
)

FOLDER = "target"
ARRAY = "marks.npy"
LIVES = "lives.json"
# What each lost event died of, in words; the judge writes it and reports show it.
LOST = "stages.npy"

_PART = 4096 * RECORD.itemsize


class MarkFile:
    """The marks of one life, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._at = HEADER.size

    def life(self) -> Life:
        """Read the head."""
        return parse_header(os.pread(self._fd, HEADER.size, 0))

    def new(self) -> Records:
        """Return the records that were finished since the last call."""
        parts = []
        while True:
            records = parse_records(os.pread(self._fd, _PART, self._at))
            self._at += len(records) * RECORD.itemsize
            parts.append(records)
            if len(records) * RECORD.itemsize < _PART:
                return np.concatenate(parts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def mark_files(run: Path) -> list[Path]:
    """Return the files of marks in a run's folder."""
    return sorted((run / FOLDER).glob("stages-*.bin"))


def read_marks(run: Path) -> Marks:
    """Read the files of all lives.

    Raises:
        LedgerError: a file is none of marks.
    """
    files = []
    for path in mark_files(run):
        file = MarkFile(path)
        try:
            files.append((file.life(), file.new()))
        except LedgerError as error:
            raise LedgerError(f"{path}: {error}") from None
        finally:
            file.close()
    return combine(files)


def save_marks(run: Path) -> None:
    """Keep the marks as one array, and remove the files, which are sparse and large."""
    marks = read_marks(run)
    np.save(run / ARRAY, marks.records, allow_pickle=False)
    lives = [asdict(life) for life in marks.lives]
    (run / LIVES).write_text(json.dumps(lives, indent=2) + "\n", encoding="utf-8")
    for path in mark_files(run):
        with suppress(OSError):
            path.unlink()


def load_marks(run: Path) -> Marks:
    """Read what ``save_marks`` wrote; no marks where it wrote nothing.

    Raises:
        OSError, ValueError: a file is damaged.
    """
    if not (run / ARRAY).exists():
        return Marks(np.empty(0, MARK), [])
    lives = json.loads((run / LIVES).read_text(encoding="utf-8"))
    return Marks(np.load(run / ARRAY, allow_pickle=False), [Life(**life) for life in lives])

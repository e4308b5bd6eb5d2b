"""The stage marks of a target, read from the files that it maps into memory.

The files lie in the run's own folder, outside the fault domain; a mark can be read as soon
as it is made, also while the target is frozen and after it was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from harness import npy
from harness.errors import LedgerError
from harness.ledger.records import Records, keys
from harness.ledger.stages import (
    HEADER,
    MARK,
    RECORD,
    Life,
    Marks,
    concerning,
    of_life,
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
        return np.concatenate([np.empty(0, RECORD), *self.parts()])

    def parts(self) -> Iterator[Records]:
        """Yield the same, some at a time."""
        while True:
            records = parse_records(os.pread(self._fd, _PART, self._at))
            self._at += len(records) * RECORD.itemsize
            yield records
            if len(records) * RECORD.itemsize < _PART:
                return

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def mark_files(run: Path) -> list[Path]:
    """Return the files of marks in a run's folder."""
    return sorted((run / FOLDER).glob("stages-*.bin"))


def _lives(run: Path) -> list[tuple[Life, Path]]:
    """Return the lives that marked, oldest first, each with its file."""
    lives = []
    for path in mark_files(run):
        with closing(MarkFile(path)) as file:
            try:
                lives.append((file.life(), path))
            except LedgerError as error:
                raise LedgerError(f"{path}: {error}") from None
    return sorted(lives, key=lambda life: life[0].started_ns)


def _parts(lives: Sequence[tuple[Life, Path]]) -> Iterator[Records]:
    """Yield the marks of all lives, some at a time, in the order of marking in each."""
    for number, (_, path) in enumerate(lives):
        with closing(MarkFile(path)) as file:
            try:
                for records in file.parts():
                    yield of_life(number, records)
            except LedgerError as error:
                raise LedgerError(f"{path}: {error}") from None


def save_marks(run: Path) -> None:
    """Keep the marks as one array, and remove the files, which are sparse and large.

    Raises:
        LedgerError: a file is none of marks.
    """
    lives = _lives(run)
    with npy.Growing(run / ARRAY, MARK) as array:
        for part in _parts(lives):
            array.add(part)
    told = [asdict(life) for life, _ in lives]
    (run / LIVES).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    for path in mark_files(run):
        with suppress(OSError):
            path.unlink()


def load_marks(run: Path, of: Records | None = None) -> Marks:
    """Read what ``save_marks`` wrote; no marks where it wrote nothing.

    Args:
        run: the run's folder.
        of: read only the marks of these events, and of lives as a whole.

    Raises:
        OSError, ValueError: a file is damaged.
    """
    if not (run / ARRAY).exists():
        return Marks(np.empty(0, MARK), [])
    lives = json.loads((run / LIVES).read_text(encoding="utf-8"))
    if of is None:
        records = np.load(run / ARRAY, allow_pickle=False)
    else:
        ids = np.sort(keys(of))
        chosen = [concerning(part, ids) for part in npy.parts(run / ARRAY, MARK)]
        records = np.concatenate([np.empty(0, MARK), *chosen])
    return Marks(records, [Life(**life) for life in lives])

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

from lossmeter.errors import LedgerError
from lossmeter.record import npy
from lossmeter.record.arrays import Records, keys
from lossmeter.record.files import files_in, open_fd, read_bytes, why, write_text
from lossmeter.record.mark_format import (
    HEADER,
    MARK,
    RECORD,
    Lifetime,
    Marks,
    concerning,
    of_lifetime,
    parse_header,
    parse_records,
)

FOLDER = "target"
ARRAY = "marks.npy"
LIFETIMES = "lives.json"

_PART = 4096 * RECORD.itemsize


class MarkFile:
    """The marks of one process lifetime, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = open_fd(path)
        except OSError as error:
            raise LedgerError(f"stage marks cannot be read: {path} {why(error)}") from None
        self._at = HEADER.size

    def lifetime(self) -> Lifetime:
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
    return files_in(run / FOLDER, "stages-*.bin")


def _lifetimes(run: Path) -> list[tuple[Lifetime, Path]]:
    """Return the lifetimes that marked, oldest first, each with its file."""
    lifetimes = []
    for path in mark_files(run):
        with closing(MarkFile(path)) as file:
            try:
                lifetimes.append((file.lifetime(), path))
            except LedgerError as error:
                raise LedgerError(f"{path}: {error}") from None
    return sorted(lifetimes, key=lambda each: each[0].started_ns)


def _parts(lifetimes: Sequence[tuple[Lifetime, Path]]) -> Iterator[Records]:
    """Yield the marks of all lifetimes, some at a time, in the order of marking in each."""
    for number, (_, path) in enumerate(lifetimes):
        with closing(MarkFile(path)) as file:
            try:
                for records in file.parts():
                    yield of_lifetime(number, records)
            except LedgerError as error:
                raise LedgerError(f"{path}: {error}") from None


def save_marks(run: Path) -> None:
    """Keep the marks as one array, and remove the files, which are sparse and large.

    Raises:
        LedgerError: a file is none of marks.
    """
    lifetimes = _lifetimes(run)
    with npy.Growing(run / ARRAY, MARK) as array:
        for part in _parts(lifetimes):
            array.add(part)
    reported = [asdict(each) for each, _ in lifetimes]
    write_text(run / LIFETIMES, json.dumps(reported, indent=2) + "\n")
    for path in mark_files(run):
        with suppress(OSError):
            path.unlink()


def load_marks(run: Path, of: Records | None = None) -> Marks:
    """Read what ``save_marks`` wrote; no marks where it wrote nothing.

    Raises:
        OSError, ValueError: a file is damaged.
    """
    if not os.path.lexists(run / ARRAY):
        return Marks(np.empty(0, MARK), [])
    lifetimes = json.loads(read_bytes(run / LIFETIMES))
    if of is None:
        records = npy.load(run / ARRAY, MARK)
    else:
        ids = np.sort(keys(of))
        chosen = [concerning(part, ids) for part in npy.parts(run / ARRAY, MARK)]
        records = np.concatenate([np.empty(0, MARK), *chosen])
    return Marks(records, [Lifetime(**each) for each in lifetimes])

"""Room on the disk for arrays that are not needed in memory all at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Kept:
    """An array of one dimension that lies in a spill; slices of it are read from there."""

    _file: IO[bytes]
    _at: int
    _length: int
    _dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        begin, end, _ = part.indices(self._length)
        found = np.empty(max(0, end - begin), self._dtype)
        self.read_into(found, begin)
        return found

    def read_into(self, found: npt.NDArray[Any], begin: int = 0) -> None:
        """Fill an array with what lies from an entry on."""
        # Read and not mapped: what is mapped counts as memory of this process.
        data = found.view(np.uint8).data if len(found) else memoryview(b"")
        at = self._at + begin * self._dtype.itemsize
        while data:
            read = os.preadv(self._file.fileno(), [data], at)
            if not read:
                raise OSError("a temporary file holds less than was written to it")
            data, at = data[read:], at + read


class Spill:
    """Keeps arrays in a file that grows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0

    def keep(self, array: npt.NDArray[Any]) -> Kept:
        """Write an array and return what reads it."""
        kept = Kept(self._file, self._end, len(array), array.dtype)
        self._file.seek(self._end)
        data = np.ascontiguousarray(array).view(np.uint8).data if len(array) else memoryview(b"")
        while data:
            # NumPy's own way to write does not say that a disk is full.
            data = data[self._file.write(data) :]
        self._end += array.nbytes
        return kept


@contextmanager
def open_spill(folder: Path) -> Iterator[Spill]:
    """Make room on the disk of a folder, or elsewhere where that cannot be written.

    The file has no name, so nothing of it is left, however the process ends.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
        except OSError:
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        yield Spill(file)


def joined(pieces: Sequence[Kept], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the arrays one after the other, in memory."""
    whole = np.empty(sum(map(len, pieces)), dtype)
    at = 0
    for piece in pieces:
        piece.read_into(whole[at : at + len(piece)])
        at += len(piece)
    return whole

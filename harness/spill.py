"""Room on the disk for arrays that are not needed in memory all at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Kept:
    """An array of one dimension that lies in a spill; slices of it are read from there."""

    def __init__(self, fd: int, at: int, length: int, dtype: np.dtype[Any]) -> None:
        self._fd, self._at, self._length, self._dtype = fd, at, length, dtype

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        begin, end, step = part.indices(self._length)
        found = np.empty(len(range(begin, end, step)) if step == 1 else 0, self._dtype)
        self._read(found, begin)
        return found

    def _read(self, into: npt.NDArray[Any], begin: int) -> None:
        room = into.view(np.uint8).data
        at = self._at + begin * self._dtype.itemsize
        while room:
            count = os.preadv(self._fd, [room], at)
            if not count:
                raise OSError("a temporary file holds less than was written to it")
            room, at = room[count:], at + count


class Spill:
    """Keeps arrays in a file that grows.

    Args:
        fd: of the file, empty and open for reading and writing.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._end = 0

    def keep(self, array: npt.NDArray[Any]) -> Kept:
        """Write an array and return what reads it."""
        data = np.ascontiguousarray(array).view(np.uint8).data
        kept = Kept(self._fd, self._end, len(array), array.dtype)
        while data:
            written = os.pwrite(self._fd, data, self._end)
            data, self._end = data[written:], self._end + written
        return kept


@contextmanager
def open_spill(folder: Path) -> Iterator[Spill]:
    """Make room on the disk of a folder, in a file without a name.

    Nothing of it is left, however the process ends.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Spill(file.fileno())


def joined(pieces: Sequence[Kept], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the arrays one after the other, in memory."""
    whole = np.empty(sum(map(len, pieces)), dtype)
    at = 0
    for piece in pieces:
        whole[at : at + len(piece)] = piece[:]
        at += len(piece)
    return whole

"""Room on the disk for arrays that are not needed in memory all at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
    """A file without a name: nothing of it is left, however the process ends.

    Args:
        folder: on whose disk it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by exit
        self._end = 0

    def keep(self, array: npt.NDArray[Any]) -> Kept:
        """Write an array and return what reads it."""
        data = np.ascontiguousarray(array).view(np.uint8).data
        kept = Kept(self._file.fileno(), self._end, len(array), array.dtype)
        while data:
            written = os.pwrite(self._file.fileno(), data, self._end)
            data, self._end = data[written:], self._end + written
        return kept

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._file.close()


def joined(pieces: Sequence[Kept], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the arrays one after the other, in memory."""
    whole = np.empty(sum(map(len, pieces)), dtype)
    at = 0
    for piece in pieces:
        whole[at : at + len(piece)] = piece[:]
        at += len(piece)
    return whole

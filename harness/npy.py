"""Arrays in NumPy's files, written and read a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.format import (
    dtype_to_descr,
    read_array_header_1_0,
    read_magic,
    write_array_header_1_0,
)

PART = 1 << 16


class Growing:
    """An array that is written as it comes; its file holds none until it is closed.

    Args:
        path: of the file, that ``numpy.load`` will read.
        dtype: of the array, which has one dimension.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path = path
        self._file: BinaryIO = path.open("wb")
        self._dtype = dtype
        self._count = 0
        self._write_header()

    def add(self, part: npt.NDArray[Any]) -> None:
        """Append a part."""
        self._file.write(np.ascontiguousarray(part, self._dtype).data)
        self._count += len(part)

    def _write_header(self) -> None:
        # NumPy leaves room for the number to grow.
        self._file.seek(0)
        descr = dtype_to_descr(self._dtype)
        about = {"descr": descr, "fortran_order": False, "shape": (self._count,)}
        write_array_header_1_0(self._file, about)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            with self._file:
                self._write_header()
        else:
            # What is left of a disk that is full must not hide why it ended.
            with suppress(OSError):
                self._file.close()


def parts(path: Path, dtype: np.dtype[Any], most: int = PART) -> Iterator[npt.NDArray[Any]]:
    """Yield the array of a file, at most so many entries at a time.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or its array is of another type.
    """
    with path.open("rb") as file:
        count = _count(path, file, dtype)
        for begin in range(0, count, most):
            wanted = min(most, count - begin)
            part = np.fromfile(file, dtype, wanted)
            if len(part) != wanted:
                raise ValueError(f"{path} is damaged: it holds less than it says")
            yield part


def length(path: Path, dtype: np.dtype[Any]) -> int:
    """Return how many entries the array of a file has; raises as ``parts`` does."""
    with path.open("rb") as file:
        return _count(path, file, dtype)


def _count(path: Path, file: BinaryIO, dtype: np.dtype[Any]) -> int:
    try:
        version = read_magic(file)
        shape, _, kind = read_array_header_1_0(file)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if version != (1, 0) or kind != dtype or len(shape) != 1:
        raise ValueError(f"{path} is damaged: its array is not of the type that belongs there")
    return int(shape[0])

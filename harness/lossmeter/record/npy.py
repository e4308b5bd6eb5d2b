"""Arrays in NumPy's files, written and read a part at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.format import (
    dtype_to_descr,
    read_array_header_1_0,
    read_magic,
    write_array_header_1_0,
)

from lossmeter.record.arrays import PAIR
from lossmeter.record.files import open_regular, replacing

PART = 1 << 16


class Growing:
    """An array that is written as it comes; its file holds none until it is closed."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path = path
        self._replacing = replacing(path)
        self._file: BinaryIO = self._replacing.__enter__()
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write_header()
        # Nothing is left of an array whose writing ended with an error.
        self._replacing.__exit__(kind, error, trace)


def load(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the array of a file; raises as ``parts`` does."""
    with open_regular(path) as file:
        count, kind = _about(path, file, dtype)
        return _read(path, file, kind, count).astype(dtype, copy=False)


def parts(path: Path, dtype: np.dtype[Any], most: int = PART) -> Iterator[npt.NDArray[Any]]:
    """Yield the array of a file, at most so many entries at a time.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or its array is of another type.
    """
    with open_regular(path) as file:
        count, kind = _about(path, file, dtype)
        for begin in range(0, count, most):
            part = _read(path, file, kind, min(most, count - begin))
            yield part.astype(dtype, copy=False)


def _read(path: Path, file: BinaryIO, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    part = np.fromfile(file, dtype, count)
    if len(part) != count:
        raise ValueError(f"{path} is damaged: it holds less than it says")
    return part


def length(path: Path, dtype: np.dtype[Any]) -> int:
    """Return how many entries the array of a file has; raises as ``parts`` does."""
    with open_regular(path) as file:
        return _about(path, file, dtype)[0]


# Ids as they were recorded when they could not be negative.
_UNSIGNED = np.dtype([("producer", "<u4"), ("sequence", "<u8")])


def _about(path: Path, file: BinaryIO, dtype: np.dtype[Any]) -> tuple[int, np.dtype[Any]]:
    """Return how many entries the array of a file has, and of which type they are there."""
    try:
        version = read_magic(file)
        shape, _, kind = read_array_header_1_0(file)
    except Exception as error:  # noqa: BLE001 - a header is Python text, and may be any
        raise ValueError(f"{path} is damaged: {error}") from None
    there = (os.fstat(file.fileno()).st_size - file.tell()) // kind.itemsize
    known = kind == dtype or (dtype == PAIR and kind == _UNSIGNED)
    if version != (1, 0) or not known or len(shape) != 1:
        raise ValueError(f"{path} is damaged: its array is not of the type that belongs there")
    if not 0 <= shape[0] <= there:
        raise ValueError(f"{path} is damaged: it holds less than it says")
    return int(shape[0]), kind

"""A file with one record a line: JSON, or any text that a pattern finds the event in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from lossmeter.errors import CollectError
from lossmeter.plan.kinds import Interpolate
from lossmeter.record.files import open_regular, why
from lossmeter.world.stores._records import UNDATED, Record, RecordStore, Shape

_LONGEST_LINE = 1 << 24


class Options(Shape):
    """Where things stand in a line.

    Attributes:
        file: in ``{run_folder}`` or elsewhere; it may come with its first line.
    """

    file: str

    def open(self, interpolate: Interpolate) -> Store:
        """Return what reads the file."""
        return Store(Path(interpolate("{run_folder}"), interpolate(self.file)), self)


class Store(RecordStore):
    """Reads the lines in their order; a last one without its end was cut short by a kill."""

    sources = {"rows": "file"}  # noqa: RUF012 - never changed

    def __init__(self, path: Path, shape: Shape) -> None:
        super().__init__(shape)
        self._path = path
        self._lines = self._offset = 0

    def count(self, array: str) -> int:
        """Return how many lines there are, reading on from where the last count ended."""
        del array
        try:
            with open_regular(self._path) as file:
                if file.seek(0, os.SEEK_END) < self._offset:
                    self._lines = self._offset = 0
                file.seek(self._offset)
                for line in self._whole_lines(file):
                    self._offset += len(line)
                    self._lines += bool(line.strip())
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._cannot(error) from None
        return self._lines

    def records(self, source: str) -> Iterator[Record]:
        """Yield the lines that are not blank."""
        del source
        try:
            with open_regular(self._path) as file:
                lines = (line for line in self._whole_lines(file) if line.strip())
                for number, line in enumerate(lines):
                    yield line, number, UNDATED
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._cannot(error) from None

    def _whole_lines(self, file: BinaryIO) -> Iterator[bytes]:
        while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
            yield line
        if len(line) == _LONGEST_LINE:
            raise CollectError(f"persisted.file: {self._path} has a line of more than 16 MiB")

    def place(self, source: str, number: int) -> str:
        """Return where a record stands."""
        del source
        return f"record {number} of {self._path}"

    def absent(self) -> str:
        """Return that there is no such file."""
        return "" if self._path.exists() else f"there is no file {self._path}"

    def again(self) -> Self:
        """Return another that reads the same."""
        return type(self)(self._path, self.shape)

    def _cannot(self, error: OSError) -> CollectError:
        return CollectError(f"persisted.file: {self._path} cannot be read: {why(error)}")

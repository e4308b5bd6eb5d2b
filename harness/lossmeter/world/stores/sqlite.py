"""SQLite: queries over a file, opened for reading only."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Self
from urllib.parse import quote

from lossmeter.plan.kinds import Interpolate
from lossmeter.record.files import kind
from lossmeter.world.stores._queries import Queries
from lossmeter.world.stores._sql import SqlStore

# The target's own transactions come first; a write is short.
_WAITS_S = 5.0


class Options(Queries):
    """The queries; ``payload`` as a column is hashed here, since SQLite has no MD5.

    ``persisted_at`` is text as ISO 8601 has it, or a number of seconds since 1970.

    Attributes:
        file: of the database, in ``{run_folder}`` or elsewhere.
    """

    file: str

    def open(self, interpolate: Interpolate) -> Store:
        """Return what runs the queries."""
        return Store(Path(interpolate("{run_folder}"), interpolate(self.file)), self)


class Store(SqlStore):
    """Reads one file."""

    errors = (sqlite3.Error,)
    away = (sqlite3.OperationalError,)

    def __init__(self, path: Path, asked: Queries) -> None:
        super().__init__(asked)
        self._path = path

    def connect(self) -> sqlite3.Connection:
        """Open the file; one that does not exist is not made."""
        for end in ("", "-journal", "-wal"):
            self._check_kind(Path(f"{self._path}{end}"))
        url = f"file:{quote(str(self._path))}?mode=ro"
        try:
            connection = sqlite3.connect(
                url, uri=True, timeout=_WAITS_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise sqlite3.OperationalError(f"{self._path}: {error}") from None
        # What an application stored as text may be any bytes.
        connection.text_factory = _text
        return connection

    @staticmethod
    def _check_kind(path: Path) -> None:
        """Refuse what is no file before SQLite opens it: it would wait for a FIFO's writer."""
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            return
        if not stat.S_ISREG(mode):
            raise sqlite3.OperationalError(f"{path} is {kind(mode)}, not a regular file")

    def again(self) -> Self:
        """Return another that reads the same over a connection of its own."""
        return type(self)(self._path, self._asked)


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")

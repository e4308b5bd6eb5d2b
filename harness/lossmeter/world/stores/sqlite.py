"""SQLite: queries over a file, opened for reading only."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from lossmeter.plan.kinds import Interpolate
from lossmeter.record.files import kind
from lossmeter.world.stores._queries import Queries
from lossmeter.world.stores._sql import SqlStore

# The target's own transactions come first; a write is short.
_WAITS_S = 5.0
_VIEW = "lossmeter_types"
_NO_TIMES = ("BOOL", "JSON", "UUID")
_NO_NUMBERS = (*_NO_TIMES, "DATE", "TIME")


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

    def types(self, connection: Any, cursor: Any, query: str) -> Mapping[str, str]:
        """Return the types that columns of tables were declared with.

        They are known of a view's columns alone, so there is one for a moment, in memory.
        """
        del cursor
        with suppress(sqlite3.Error), closing(connection.cursor()) as asking:
            asking.execute(f"create temp view {_VIEW} as select * from ({query}\n) as persisted")  # noqa: S608 - the user's own
            found = asking.execute(f"pragma temp.table_info({_VIEW})").fetchall()
            asking.execute(f"drop view temp.{_VIEW}")
            return {str(name): str(declared) for _, name, declared, *_ in found if declared}
        return {}

    def fits(self, column: str, kind: str) -> bool:
        """Return whether a declaration promises what is read; any column may hold anything."""
        words = _NO_TIMES if column == "persisted_at" else _NO_NUMBERS
        return column == "payload" or not any(word in kind.upper() for word in words)

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

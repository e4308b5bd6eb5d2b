"""Stores that are read row by row through Python's database interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Self

from lossmeter.errors import CollectError, UsageError
from lossmeter.record.arrays import UNDATED
from lossmeter.record.payloads import payload_hash
from lossmeter.record.whole import FOREIGN, signed, whole
from lossmeter.world.stores import Columns, Sink
from lossmeter.world.stores._queries import Queries
from lossmeter.world.stores._values import (
    PART_ROWS,
    Counting,
    Row,
    give,
    nanoseconds,
)

_IDS = ("producer", "sequence")
_WHOLE = "a whole number"
_MUST_OF_IDS = dict.fromkeys(_IDS, _WHOLE)
# What is read of a query's columns; whole numbers also in digits.
MUST = {
    **_MUST_OF_IDS,
    "payload_hash": _WHOLE,
    "position": _WHOLE,
    "persisted_at": "a date with its time, or seconds since 1970",
    "payload": "the text as it was sent",
}


class SqlStore(ABC):
    """Runs the queries.

    Attributes:
        errors: what the database's module raises.
        away: of these, what says that the database cannot be reached.
    """

    errors: tuple[type[Exception], ...]
    away: tuple[type[Exception], ...]

    def __init__(self, asked: Queries) -> None:
        self._asked = asked
        self.sources = asked.sources
        self._counting: Any = None

    @abstractmethod
    def connect(self) -> Any:
        """Open a connection that cannot write.

        Raises:
            any of ``errors``: it cannot be opened.
        """

    @abstractmethod
    def types(self, connection: Any, cursor: Any, query: str) -> Mapping[str, str]:
        """Return the type of each column of a query, where it is known.

        Args:
            connection: that the query can be tried on.
            cursor: that has run it.
            query: fit to be a subquery.
        """

    @abstractmethod
    def fits(self, column: str, kind: str) -> bool:
        """Return whether a column's values can be read, by its type."""

    @abstractmethod
    def again(self) -> Self:
        """Return another that reads the same over a connection of its own."""

    def check(self) -> Columns:
        """Return the columns of the query, after a trial of all queries."""
        try:
            connection = self.connect()
        except self.errors as error:
            raise UsageError(f"persisted: the database cannot be reached: {said(error)}") from None
        with closing(connection):
            found = {name: self._columns_of(connection, name) for name in self.sources.values()}
            self._check_count(connection)
        names = found["query"]
        hashed = "payload" in names or "payload_hash" in names
        return Columns(hashed, "position" in names, "persisted_at" in names)

    def _columns_of(self, connection: Any, name: str) -> Sequence[str]:
        where, query = f"persisted.{name}", self._asked.text(name)
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"{_wrapped('*', query)} limit 0")
                columns = [str(column[0]) for column in cursor.description or ()]
                types = self.types(connection, cursor, query)
        except self.errors as error:
            raise UsageError(f"{where} is not a query that works: {said(error)}") from None
        for needed in _IDS:
            if needed not in columns:
                raise UsageError(
                    f"{where} must return the column {needed!r}; it returns {', '.join(columns)}"
                )
        for column, must in MUST.items() if name == "query" else _MUST_OF_IDS.items():
            kind = types.get(column)
            if column in columns and kind is not None and not self.fits(column, kind):
                raise UsageError(f"{where} returns {column!r} as {kind}; it must be {must}")
        return columns

    def _check_count(self, connection: Any) -> None:
        try:
            number = _number(connection, self._statement())
        except self.errors as error:
            raise UsageError(
                f"persisted.count_query is not a query that works: {said(error)}"
            ) from None
        if whole(number) < 0:
            raise UsageError(
                f"persisted.count_query must return one whole number; it returns {number!r}"
            )

    def _statement(self, array: str = "rows") -> str:
        if array == "rows" and self._asked.count_query is not None:
            return self._asked.text("count_query")
        return _wrapped("count(*)", self._asked.text(self.sources[array]))

    def count(self, array: str) -> int:
        """Return how many rows a query returns, over a connection that stays open."""
        fresh = self._counting is None
        try:
            if self._counting is None:
                self._counting = self.connect()
            return whole(_number(self._counting, self._statement(array)))
        except self.errors as error:
            self.close()
            if not fresh and isinstance(error, self.away):
                return self.count(array)
            raise CollectError(f"what was persisted cannot be read: {said(error)}") from None

    def counter(self) -> Counting:
        """Return what counts the rows over a connection of its own."""
        return Counting(self.again())

    def close(self) -> None:
        """Close the connection of ``count``."""
        if self._counting is not None:
            connection, self._counting = self._counting, None
            connection.close()

    def read(self, array: str, sink: Sink) -> None:
        """Give the rows of a query to a sink."""
        self.close()
        try:
            with closing(self.connect()) as connection, closing(self.cursor(connection)) as cursor:
                cursor.execute(self._asked.text(self.sources[array]))
                convert = _converter([str(column[0]) for column in cursor.description])
                give(map(convert, _fetched(cursor)), array, sink)
        except self.errors as error:
            raise CollectError(f"what was persisted cannot be read: {said(error)}") from None

    def cursor(self, connection: Any) -> Any:
        """Return a cursor that has a part of the rows in memory at a time."""
        return connection.cursor()

    def absent(self) -> str:
        """Return nothing: a table that is not there is an error of its query."""
        return ""


def said(error: Exception) -> str:
    """Return what the database says, in one line and without its number."""
    return " ".join(str(error.args[-1] if error.args else error).split())


def _wrapped(what: str, query: str) -> str:
    # The query is the user's own, and runs with their own rights.
    return f"select {what} from ({query}\n) as persisted"  # noqa: S608


def _number(connection: Any, statement: str) -> object:
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
        return row[0] if row and len(row) == 1 else row


def _fetched(cursor: Any) -> Iterator[Sequence[object]]:
    while part := cursor.fetchmany(PART_ROWS):
        yield from part


def _converter(columns: Sequence[str]) -> Callable[[Sequence[object]], Row]:
    """Return what makes a ROW of a row with these columns."""
    at: Mapping[str, int] = {name: place for place, name in enumerate(columns)}
    hashed, text, order, time = (
        at.get(name) for name in ("payload_hash", "payload", "position", "persisted_at")
    )

    def digest(row: Sequence[object]) -> int:
        if hashed is not None:
            return signed(row[hashed])
        if text is None:
            return 0
        value = row[text]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        return payload_hash(value) if isinstance(value, str) else FOREIGN

    def convert(row: Sequence[object]) -> Row:
        return (
            whole(row[at["producer"]]),
            whole(row[at["sequence"]]),
            digest(row),
            0 if order is None else whole(row[order]),
            UNDATED if time is None else nanoseconds(row[time]),
        )

    return convert

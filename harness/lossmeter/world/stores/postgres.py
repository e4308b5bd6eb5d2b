"""PostgreSQL: queries of rows, dead letters and pending events, read by COPY as arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import psycopg
from psycopg import sql

from lossmeter.errors import CollectError, UsageError
from lossmeter.plan.kinds import Interpolate
from lossmeter.record.whole import FOREIGN
from lossmeter.world import beginnings
from lossmeter.world.sessions import connect
from lossmeter.world.stores import Columns, Sink
from lossmeter.world.stores._postgres_columns import (
    ROWS,
    fields_of,
    one_line,
    pairs_of,
    raw,
    rows_of,
    try_query,
)
from lossmeter.world.stores._postgres_copying import Integers, copy_integers
from lossmeter.world.stores._queries import Queries

CONNECT_S = 5
# A cluster closes the way to a server for a moment now and then while it learns of others.
AGAIN_WITHIN_S = 2.0
AGAIN_S = 0.1
STATEMENT_MS = 60_000

# PostgreSQL leaves out the columns that nobody asks for, so this is a count over the table.
_COUNT = sql.SQL("select count(*) from ({query}\n) as persisted")

Connection = psycopg.Connection[tuple[object, ...]]


class Options(Queries):
    """The queries, which return ``payload_hash`` as bigint and ``persisted_at`` as timestamptz.

    Attributes:
        database: one of the target's services, or a URL, e.g. with ``sslmode=verify-full``.
    """

    database: str = "postgres"

    def open(self, interpolate: Interpolate) -> Store:
        """Return what runs the queries."""
        named = "://" in self.database or "{" in self.database
        url = self.database if named else f"{{{self.database}.url}}"
        return Store(interpolate(url), self)


class RowCounter:
    """Counts what is persisted over one connection that stays open.

    Args:
        connect: opens a connection that does not pass a proxy.
        statement: returns one number.
    """

    def __init__(
        self, connect: Callable[[], Connection], statement: sql.SQL | sql.Composed
    ) -> None:
        self._connect = connect
        self._statement = statement
        self._connection: Connection | None = None

    def __call__(self) -> int | None:
        """Return how many rows there are now; None while the database does not say."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            # Prepared, since it is asked a hundred times a second.
            row = self._connection.execute(self._statement, prepare=True).fetchone()
        except psycopg.Error:
            self.close()
            return None
        return int(str(row[0])) if row else None

    def close(self) -> None:
        """Close the connection; the next count opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Store:
    """Reads one database.

    Args:
        url: does not pass a proxy.
        asked: the queries.
    """

    def __init__(self, url: str, asked: Queries) -> None:
        self._url, self._asked = url, asked
        self.sources = asked.sources

    def check(self) -> Columns:
        """Return the columns of the query, after a trial of all queries."""
        try:
            with self._connect_in_time() as connection:
                for name in self.sources.values():
                    query = self._asked.text(name)
                    fields = fields_of(connection, query, name)
                    try_query(connection, query, fields.row if name == ROWS else fields.pair, name)
                self._check_count(connection)
                return fields_of(connection, self._asked.query, ROWS).columns
        except psycopg.Error as error:
            raise UsageError(f"persisted.database cannot be reached: {one_line(error)}") from None

    def _check_count(self, connection: Connection) -> None:
        where = "persisted.count_query"
        try:
            row = connection.execute(self._counting()).fetchone()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise UsageError(f"{where} is not a query that works: {one_line(error)}") from None
        if row is None or len(row) != 1 or not isinstance(row[0], int):
            raise UsageError(f"{where} must return one whole number; it returns {row!r}")

    def counter(self) -> RowCounter:
        """Return what counts the rows often and at little cost."""
        return RowCounter(self._connect, self._counting())

    def _counting(self) -> sql.SQL | sql.Composed:
        """Return the statement that counts what is persisted."""
        if self._asked.count_query is not None:
            return raw(self._asked.count_query)
        return _COUNT.format(query=raw(self._asked.query))

    def count(self, array: str) -> int:
        """Return how many rows a query returns."""
        query = self._asked.text(self.sources[array])
        try:
            with self._reading() as connection:
                row = connection.execute(_COUNT.format(query=raw(query))).fetchone()
        except psycopg.Error as error:
            raise CollectError(f"what was persisted cannot be read: {one_line(error)}") from None
        return int(str(row[0])) if row else 0

    def read(self, array: str, sink: Sink) -> None:
        """Give the rows of a query to a sink."""
        name = self.sources[array]
        query = self._asked.text(name)
        with self._reading() as connection:
            fields = fields_of(connection, query, name)
        if name == ROWS:
            convert = partial(rows_of, times=fields.columns.persisted_at)
            self._copy(query, fields.row, lambda table: sink(convert(table)))
        else:
            self._copy(query, fields.pair, lambda table: sink(pairs_of(table)))

    def _copy(self, query: str, fields: tuple[str, ...], sink: Callable[[Integers], None]) -> None:
        """Give the fields of all rows to a sink, as arrays of shape (rows, fields)."""
        statement = sql.SQL(
            "copy (select {fields} from ({query}\n) as persisted) to stdout (format binary)"
        ).format(fields=sql.SQL(", ".join(fields)), query=raw(query))
        # What takes long is bounded by the server's silence, not by its time.
        connection = self._reading(statement_ms=0)
        try:
            text = statement.as_bytes(connection)
            copy_integers(connection, text, len(fields), FOREIGN, sink)
        except (psycopg.Error, OSError) as error:
            raise CollectError(f"what was persisted cannot be read: {one_line(error)}") from None
        finally:
            connection.close()

    def began(self) -> str | None:
        """Ask since when the server serves."""
        return beginnings.of_postgres(self._url)

    def absent(self) -> str:
        """Return nothing: a table that is not there is an error of its query."""
        return ""

    def _connect(self, statement_ms: int = STATEMENT_MS) -> Connection:
        return connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            # Whatever a query does besides, nothing of what was persisted is changed by it.
            options=f"-c statement_timeout={statement_ms} -c timezone=UTC "
            "-c default_transaction_read_only=on",
        )

    def _connect_in_time(self, statement_ms: int = STATEMENT_MS) -> Connection:
        """Connect, and try again for a while where that fails."""
        deadline = time.monotonic() + AGAIN_WITHIN_S
        while True:
            try:
                return self._connect(statement_ms)
            except psycopg.OperationalError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(AGAIN_S)

    def _reading(self, statement_ms: int = STATEMENT_MS) -> Connection:
        try:
            return self._connect_in_time(statement_ms)
        except psycopg.OperationalError as error:
            raise CollectError(
                f"what was persisted cannot be read, the database is away: {one_line(error)}"
            ) from None

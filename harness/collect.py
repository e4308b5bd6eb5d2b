"""Reads what a target persisted, around every proxy, into arrays on the disk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql

from harness import npy
from harness.copying import Integers, copy_integers
from harness.errors import CollectError, UsageError
from harness.ledger.records import PAIR, ROW, Records
from harness.target import Persisted

CONNECT_S = 5
# A cluster closes the way to a server for a moment now and then while it learns of others.
AGAIN_WITHIN_S = 2.0
AGAIN_S = 0.1
STATEMENT_MS = 60_000

# Where a target does not tell what it holds, silence must last longer to mean anything.
BLIND_QUIET_S = 5.0

# A timestamp travels as it is stored, in microseconds since 2000; making a number of it on
# the server would take ten times as long. Beyond some centuries it is not a time of a run.
_TIME = "coalesce((persisted_at)::timestamptz, '1970-01-01 00:00:00+00'::timestamptz)"
_EPOCH_US = 946_684_800_000_000
_FAR_US = 7_000_000_000_000_000

# An id that is not a number, or is missing, cannot be one that was sent.
_FOREIGN = -1


@dataclass(frozen=True, slots=True)
class Columns:
    """Which optional columns a query returns."""

    payload_hash: bool
    position: bool
    persisted_at: bool


# PostgreSQL leaves out the columns that nobody asks for, so this is a count over the table.
_COUNT = sql.SQL("select count(*) from ({query}) as persisted")


class RowCounter:
    """Counts what is persisted over one connection that stays open.

    Args:
        connect: opens a connection that does not pass a proxy.
        statement: returns one number.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[tuple[object, ...]]],
        statement: sql.SQL | sql.Composed,
    ) -> None:
        self._connect = connect
        self._statement = statement
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

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


class Auditor:
    """Reads one target's database.

    Args:
        url: PostgreSQL URL that does not pass a proxy.
        persisted: the target's queries.
        handler_time_s: how long the target may work on one event before a row comes.
        folder: what the target knows as ``{run_folder}``.
    """

    def __init__(
        self,
        url: str,
        persisted: Persisted,
        handler_time_s: float = 0.0,
        folder: Path | None = None,
    ) -> None:
        self._url = url
        self._persisted = persisted
        self._folder = folder
        self._blind_s = max(BLIND_QUIET_S, 2 * handler_time_s)

    def check(self) -> Columns:
        """Return the columns of the query before any load is sent.

        Raises:
            UsageError: the database cannot be reached, or a query is wrong.
        """
        try:
            with self._connect_in_time() as connection:
                columns = {
                    name: _columns(connection, query, f"persisted.{name}")
                    for name, query in self._queries().items()
                }
                self._check_count(connection)
        except psycopg.Error as error:
            raise UsageError(f"persisted.database cannot be reached: {_one_line(error)}") from None
        return columns["query"]

    def _check_count(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        where = "persisted.count_query"
        try:
            row = connection.execute(self._counting()).fetchone()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise UsageError(f"{where} is not a query that works: {_one_line(error)}") from None
        if row is None or len(row) != 1 or not isinstance(row[0], int):
            raise UsageError(f"{where} must return one whole number; it returns {row!r}")

    def counter(self) -> RowCounter:
        """Return what counts the rows often and at little cost."""
        return RowCounter(self._connect, self._counting())

    def _counting(self) -> sql.SQL | sql.Composed:
        """Return the statement that counts what is persisted."""
        if self._persisted.count_query is not None:
            return _raw(self._persisted.count_query)
        return _COUNT.format(query=_raw(self._persisted.query))

    def check_empty(self) -> None:
        """Make sure that no row of an earlier run can stand in for one of this run.

        Raises:
            UsageError: a query returns rows before any event was sent.
        """
        for name, query in self._queries().items():
            if rows := self._count(query):
                raise UsageError(
                    f"persisted.{name} returns {rows} rows before any event was sent; empty the "
                    "table, or have the query return the rows of one run only"
                )

    def _queries(self) -> dict[str, str]:
        """Return the queries that the target has, by their names in its file."""
        names = ("query", "dead_letter_query", "pending_query")
        asked = {name: getattr(self._persisted, name) for name in names}
        return {name: query for name, query in asked.items() if query is not None}

    def count(self) -> int:
        """Return how many rows are persisted now."""
        return self._count(self._persisted.query)

    def _count(self, query: str) -> int:
        try:
            with self._reading() as connection:
                row = connection.execute(_COUNT.format(query=_raw(query))).fetchone()
        except psycopg.Error as error:
            raise CollectError(f"what was persisted cannot be read: {_one_line(error)}") from None
        return int(str(row[0])) if row else 0

    def save(self, folder: Path) -> None:
        """Read all that is persisted into a run's folder, where ``Collected.load`` finds it.

        A part of it is in memory at a time.

        Raises:
            CollectError: the database died, a query failed, or the disk is full.
        """
        persisted = self._persisted
        with self._reading() as connection:
            columns = _columns(connection, persisted.query, "persisted.query")
        with npy.Growing(folder / "rows.npy", ROW) as rows:
            convert = partial(_rows_of, times=columns.persisted_at)
            self._copy(persisted.query, _row_fields(columns), _into(rows, convert))
        with npy.Growing(folder / "dead_lettered.npy", PAIR) as dead_lettered:
            self._copy_pairs(persisted.dead_letter_query, dead_lettered)
            dead_lettered.add(self._pairs_of_file())
        with npy.Growing(folder / "pending.npy", PAIR) as pending:
            self._copy_pairs(persisted.pending_query, pending)

    def _copy_pairs(self, query: str | None, array: npy.Growing) -> None:
        if query is not None:
            fields = (_integer("producer"), _integer("sequence"))
            self._copy(query, fields, _into(array, _pairs_of))

    def _copy(self, query: str, fields: tuple[str, ...], sink: Callable[[Integers], None]) -> None:
        """Give the fields of all rows to a sink, as arrays of shape (rows, fields)."""
        statement = sql.SQL(
            "copy (select {fields} from ({query}) as persisted) to stdout (format binary)"
        ).format(fields=sql.SQL(", ".join(fields)), query=_raw(query))
        # What takes long is bounded by the server's silence, not by its time.
        connection = self._reading(statement_ms=0)
        try:
            text = statement.as_bytes(connection)
            copy_integers(connection, text, len(fields), _FOREIGN, sink)
        except (psycopg.Error, OSError) as error:
            raise CollectError(f"what was persisted cannot be read: {_one_line(error)}") from None
        finally:
            connection.close()

    def _pairs_of_file(self) -> Records:
        """Return the dead letters that the target keeps in a file; none where it has none."""
        name = self._persisted.dead_letter_file
        if name is None or self._folder is None or not (self._folder / name).exists():
            return np.empty(0, PAIR)
        return _read_pairs(self._folder / name)

    def settle(
        self, drained: Callable[[], bool | None], check: Callable[[], None]
    ) -> tuple[bool, str]:
        """Wait until the target says it is empty and no new row has come for ``quiet_s``.

        Args:
            drained: True or False by the target's own word; None when it does not say.
            check: called at every look; raises when the wait is pointless.

        Returns:
            Whether reads settled, and what was seen.
        """
        begin = time.monotonic()
        rows, since = -1, begin
        while time.monotonic() - begin < self._persisted.settle_limit_s:
            check()
            now = self.count()
            empty = drained()
            if now != rows or empty is False:
                rows, since = now, time.monotonic()
            elif time.monotonic() - since >= (quiet_s := self._quiet_s(empty)):
                word = "queue empty" if empty else "target does not tell what it holds"
                return True, f"{word}, {rows} rows for {quiet_s:g} s"
            time.sleep(0.1)
        return False, (
            f"after {self._persisted.settle_limit_s:g} s rows still arrive or the queue is "
            f"not empty ({rows} rows)"
        )

    def _quiet_s(self, empty: bool | None) -> float:
        """Return how long no row may come; longer where the target may hold some unseen."""
        return self._persisted.quiet_s if empty else max(self._persisted.quiet_s, self._blind_s)

    def _connect(self, statement_ms: int = STATEMENT_MS) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            # Timestamps without a zone are read as UTC.
            options=f"-c statement_timeout={statement_ms} -c timezone=UTC",
        )

    def _connect_in_time(
        self, statement_ms: int = STATEMENT_MS
    ) -> psycopg.Connection[tuple[object, ...]]:
        """Connect, and try again for a while where that fails."""
        deadline = time.monotonic() + AGAIN_WITHIN_S
        while True:
            try:
                return self._connect(statement_ms)
            except psycopg.OperationalError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(AGAIN_S)

    def _reading(self, statement_ms: int = STATEMENT_MS) -> psycopg.Connection[tuple[object, ...]]:
        try:
            return self._connect_in_time(statement_ms)
        except psycopg.OperationalError as error:
            raise CollectError(
                f"what was persisted cannot be read, the database is away: {_one_line(error)}"
            ) from None


def _raw(query: str) -> sql.SQL:
    # The query is the user's own, from the target file, and runs with their own rights.
    return sql.SQL(query.strip().rstrip(";"))


def _columns(connection: psycopg.Connection[tuple[object, ...]], query: str, where: str) -> Columns:
    statement = sql.SQL("select * from ({query}) as persisted limit 0")
    try:
        cursor = connection.execute(statement.format(query=_raw(query)))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise UsageError(f"{where} is not a query that works: {_one_line(error)}") from None
    names = {column.name for column in cursor.description or ()}
    for needed in ("producer", "sequence"):
        if needed not in names:
            raise UsageError(
                f"{where} must return the column {needed!r}; it returns {', '.join(sorted(names))}"
            )
    return Columns("payload_hash" in names, "position" in names, "persisted_at" in names)


def _into(array: npy.Growing, convert: Callable[[Integers], Records]) -> Callable[[Integers], None]:
    """Return a sink that appends what it is given to an array, converted."""

    def keep(table: Integers) -> None:
        try:
            array.add(convert(table))
        except OSError as error:
            # Not to be taken for one of the connection.
            raise CollectError(f"{array.path} cannot be written: {error.strerror}") from None

    return keep


def _row_fields(columns: Columns) -> tuple[str, ...]:
    """Return the expressions of a ROW's fields, 0 for those that the query does not have."""
    return (
        _integer("producer"),
        _integer("sequence"),
        _integer("payload_hash") if columns.payload_hash else "0::bigint",
        _integer("position") if columns.position else "0::bigint",
        _TIME if columns.persisted_at else "0::bigint",
    )


def _rows_of(table: Integers, *, times: bool) -> Records:
    """Return integers, in the order of a ROW's fields, as rows; in place."""
    rows: Records = table.view(ROW)[:, 0]
    if times:
        persisted = rows["persisted_ns"]
        np.clip(persisted, -_FAR_US, _FAR_US, out=persisted)
        persisted += _EPOCH_US
        persisted *= 1000
    return rows


def _pairs_of(table: Integers) -> Records:
    known = table[(table >= 0).all(axis=1)]
    pairs = np.empty(len(known), PAIR)
    pairs["producer"], pairs["sequence"] = known[:, 0], known[:, 1]
    return pairs


def _read_pairs(path: Path) -> Records:
    """Return the events of a file with a JSON object a line.

    A last line without its end was cut short by a kill: what it names was not kept.

    Raises:
        CollectError: a line is none, or does not name an event.
    """
    pairs = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            told = json.loads(line)
            pairs.append((int(told["producer"]), int(told["sequence"])))
        except (ValueError, TypeError, KeyError):
            raise CollectError(
                f"line {number} of {path} is not a JSON object with producer and sequence"
            ) from None
    return np.array(pairs, PAIR)


def _integer(expression: str) -> str:
    return f"coalesce(({expression})::bigint, {_FOREIGN})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

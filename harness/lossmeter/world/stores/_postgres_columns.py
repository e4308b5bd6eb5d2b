"""What is read of the rows that a target's queries return, by the types that the server gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lossmeter.errors import UsageError
from lossmeter.record.arrays import PAIR, ROW, UNDATED, Records
from lossmeter.record.whole import FOREIGN
from lossmeter.world.stores import Columns
from lossmeter.world.stores._postgres_copying import Integers
from lossmeter.world.stores._queries import bare

# The query of the target's file that returns what was persisted.
ROWS = "query"

# A timestamp travels as it is stored, in microseconds since 2000; making a number of it on
# the server would take ten times as long. Beyond some centuries it is not a time of a run.
# One without a zone is read as UTC, whatever the zone of the session that wrote it.
_TIMES = {
    1184: "coalesce(persisted_at, '-infinity')",
    1114: "coalesce(persisted_at at time zone 'UTC', '-infinity')",
}
_EPOCH_US = 946_684_800_000_000
_FAR_US = 7_000_000_000_000_000

# By the type that the server gives a column: only whole numbers are taken for what they are.
_WHOLE = "({0})::bigint"
_EXACT = (
    "case when {0} between -9223372036854774784 and 9223372036854774784 and {0} = trunc({0}) "
    "then ({0})::bigint end"
)
_DIGITS = "case when {0} ~ '^ *[+-]?[0-9]{{1,18}} *$' then ({0})::bigint end"
# The 64 bits of a hash are the same with a sign and without one.
_BITS = (
    "case when {0} = trunc({0}) and {0} between -9223372036854775808 and 18446744073709551615 "
    "then (case when {0} > 9223372036854775807 then {0} - 18446744073709551616 else {0} end)"
    "::bigint end"
)
_HASH_IN_TEXT = (
    "case when {0} ~ '^ *[+-]?[0-9]{{1,20}} *$' then "
    + _BITS.replace("{0}", "({0}::numeric)")
    + " end"
)
_INTEGERS = {
    **dict.fromkeys((20, 21, 23), _WHOLE),
    **dict.fromkeys((1700, 701), _EXACT),
    700: _EXACT.replace("{0}", "({0}::float8)"),
    **dict.fromkeys((25, 1043, 1042, 705), _DIGITS.replace("{0}", "({0}::text)")),
}
_HASHES = {
    **_INTEGERS,
    1700: _BITS,
    **dict.fromkeys((25, 1043, 1042, 705), _HASH_IN_TEXT.replace("{0}", "({0}::text)")),
}


@dataclass(frozen=True, slots=True)
class Fields:
    """What is read of the rows of a query, as expressions of eight bytes each.

    Attributes:
        columns: which optional columns there are.
        pair: the id.
        row: the fields of a ROW, 0 for those that the query does not have.
    """

    columns: Columns
    pair: tuple[str, ...]
    row: tuple[str, ...]


def fields_of(connection: psycopg.Connection[tuple[object, ...]], query: str, name: str) -> Fields:
    """Ask the server for the columns of a query and their types.

    Raises:
        UsageError: the query is wrong, lacks a column, or one is of a type that cannot be.
    """
    where = f"persisted.{name}"
    statement = sql.SQL("select * from ({query}\n) as persisted limit 0")
    try:
        cursor = connection.execute(statement.format(query=raw(query)))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise UsageError(f"{where} is not a query that works: {one_line(error)}") from None
    types = {column.name: column for column in cursor.description or ()}
    for needed in ("producer", "sequence"):
        if needed not in types:
            raise UsageError(
                f"{where} must return the column {needed!r}; it returns {', '.join(sorted(types))}"
            )

    def expression(column: str, known: Mapping[int, str], must: str) -> str:
        if column not in types:
            return "0::bigint"
        if types[column].type_code not in known:
            raise UsageError(
                f"{where} returns {column!r} as {types[column].type_display}; it must be {must}"
            )
        return known[types[column].type_code].format(column)

    def number(column: str, known: Mapping[int, str] = _INTEGERS) -> str:
        return f"coalesce({expression(column, known, 'a whole number')}, {FOREIGN})"

    pair = number("producer"), number("sequence")
    columns = Columns("payload_hash" in types, "position" in types, "persisted_at" in types)
    if name != ROWS:
        return Fields(columns, pair, ())
    at = expression("persisted_at", _TIMES, "a timestamp with time zone")
    return Fields(columns, pair, (*pair, number("payload_hash", _HASHES), number("position"), at))


def try_query(
    connection: psycopg.Connection[tuple[object, ...]],
    query: str,
    fields: tuple[str, ...],
    name: str,
) -> None:
    """Have the server read no row of what will be read after the load."""
    statement = sql.SQL("select {fields} from ({query}\n) as persisted limit 0")
    try:
        connection.execute(statement.format(fields=sql.SQL(", ".join(fields)), query=raw(query)))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise UsageError(f"persisted.{name} cannot be read: {one_line(error)}") from None


def raw(query: str) -> sql.SQL:
    """Return a target's query: the user's own, that runs with their own rights."""
    return sql.SQL(bare(query))


def rows_of(table: Integers, *, times: bool) -> Records:
    """Return integers, in the order of a ROW's fields, as rows; in place."""
    rows: Records = table.view(ROW)[:, 0]
    if times:
        persisted = rows["persisted_ns"]
        undated = (persisted < -_FAR_US) | (persisted > _FAR_US)
        persisted += _EPOCH_US
        persisted *= 1000
        persisted[undated] = UNDATED
    return rows


def pairs_of(table: Integers) -> Records:
    """Return integers, shape (rows, 2), as ids; in place."""
    pairs: Records = table.view(PAIR)[:, 0]
    return pairs


def one_line(error: Exception) -> str:
    """Return the text of an error of the server in one line."""
    return " ".join(str(error).split())

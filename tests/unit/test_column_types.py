"""Types of a query's columns as MySQL and MariaDB give them: those that are read, and no others."""

from __future__ import annotations

import pytest
from pymysql.constants import FIELD_TYPE

from lossmeter.world.stores import mysql
from lossmeter.world.stores._sql import MUST

STORE = mysql.Options(query="select 1").open(lambda _: "mysql://x@127.0.0.1/x")
TEXTS = {FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.BLOB, FIELD_TYPE.LONG_BLOB}
WHOLE = {FIELD_TYPE.TINY, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.NEWDECIMAL}
TIMES = {FIELD_TYPE.TIMESTAMP, FIELD_TYPE.DATETIME, FIELD_TYPE.DOUBLE, FIELD_TYPE.NEWDECIMAL}
NEVER = {FIELD_TYPE.DATE, FIELD_TYPE.TIME, FIELD_TYPE.YEAR, FIELD_TYPE.JSON, FIELD_TYPE.NULL}


class Cursor:
    """What has run a query of some columns of one type."""

    def __init__(self, code: int) -> None:
        self.description = [(name, code, None, 9, 9, 0, True) for name in MUST]


def fitting(code: int) -> set[str]:
    """Return the columns that may be of a type."""
    types = STORE.types(None, Cursor(code), "")
    return {column for column, kind in types.items() if STORE.fits(column, kind)}


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_texts_may_hold_digits_and_no_times(code: int) -> None:
    assert fitting(code) == set(MUST) - {"persisted_at"}


@pytest.mark.parametrize("code", sorted(WHOLE))
def test_numbers_are_no_payload(code: int) -> None:
    assert fitting(code) - {"persisted_at"} == set(MUST) - {"persisted_at", "payload"}


@pytest.mark.parametrize("code", sorted(TIMES))
def test_times_are_dates_or_numbers_that_know_fractions(code: int) -> None:
    assert "persisted_at" in fitting(code)


@pytest.mark.parametrize("code", sorted(NEVER))
def test_some_are_nothing_that_is_read(code: int) -> None:
    assert fitting(code) == set()


def test_a_float_knows_minutes_only() -> None:
    assert "persisted_at" not in fitting(FIELD_TYPE.FLOAT)

"""MariaDB and MySQL: queries of rows, dead letters and pending events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

import pymysql
from pydantic import Field
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import SSCursor

from lossmeter.plan.kinds import Interpolate
from lossmeter.world.stores._queries import Queries
from lossmeter.world.stores._sql import SqlStore

_CONNECT_S, _SILENT_S = 5, 120
# Times come in UTC, and nothing is written, whatever the query says.
_UTC, _READ_ONLY = "set time_zone = '+00:00'", "set session transaction read only"
# By the protocol's names, of which some have two; texts and bytes have the same.
_NAMES = {code: name for name, code in reversed(vars(FIELD_TYPE).items()) if name.isupper()}
_NAMES |= {FIELD_TYPE.VAR_STRING: "VARCHAR", FIELD_TYPE.STRING: "CHAR", FIELD_TYPE.BLOB: "TEXT"}
# A JSON is none of these: MySQL writes it anew, so it is no payload as it was sent.
_TEXTS = frozenset({"VARCHAR", "CHAR", "TEXT", "TINY_BLOB", "MEDIUM_BLOB", "LONG_BLOB"})
_EXACT = frozenset({"SHORT", "LONG", "LONGLONG", "INT24", "DECIMAL", "NEWDECIMAL", "DOUBLE"})
# As seconds since 1970, a FLOAT knows minutes only.
_NUMBERS = _EXACT | {"TINY", "FLOAT"}
_TIMES = frozenset({"TIMESTAMP", "DATETIME"}) | _EXACT
_UPTIME = "show global status like 'Uptime'"


class Options(Queries):
    """The queries; ``payload`` as a column is hashed here.

    ``payload_hash`` is ``conv(left(md5(payload), 16), 16, 10)``. ``persisted_at`` is a
    TIMESTAMP(6), or a DATETIME(6) in UTC, or a number of seconds since 1970; the columns
    without (6) know whole seconds only, which are no times to be trusted.

    Attributes:
        url: ``mysql://USER:PASSWORD@HOST:PORT/DATABASE``, around every proxy.
        ca: of the certificate, for a server that is to be reached over TLS alone.
    """

    url: Annotated[str, Field(pattern=r"^\{|^(mysql|mariadb)://")] = "{mariadb.url}"
    ca: str | None = None

    def open(self, interpolate: Interpolate) -> Store:
        """Return what runs the queries."""
        return Store(interpolate(self.url), self)


class Store(SqlStore):
    """Reads one database."""

    # A RuntimeError says which package a way of logging in needs; the others what is wrong
    # with the port of a URL, or with the file of a certificate.
    errors = (pymysql.Error, RuntimeError, ValueError, OSError)
    away = (pymysql.OperationalError, pymysql.InterfaceError)

    def __init__(self, url: str, asked: Options) -> None:
        super().__init__(asked)
        self._url, self._ca = url, asked.ca
        self._options = asked

    def connect(self) -> Any:
        """Open a connection."""
        parts = urlsplit(self._url)
        connection = pymysql.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")) or None,
            connect_timeout=_CONNECT_S,
            read_timeout=_SILENT_S,
            autocommit=True,
            charset="utf8mb4",
            init_command=_UTC,
            ssl={"ca": self._ca} if self._ca else None,
        )
        with connection.cursor() as cursor:
            cursor.execute(_READ_ONLY)
        return connection

    def began(self) -> float | None:
        """Ask for how many whole seconds the server has served."""
        try:
            with closing(self.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(_UPTIME)
                row = cursor.fetchone()
        except self.errors:
            return None
        return time.monotonic() - int(row[1]) if row else None

    def types(self, connection: Any, cursor: Any, query: str) -> Mapping[str, str]:
        """Return the types as the server gave them with the columns."""
        del connection, query
        return {str(name): _NAMES.get(code, str(code)) for name, code, *_ in cursor.description}

    def fits(self, column: str, kind: str) -> bool:
        """Return whether a column is of a type that is read without a guess."""
        return kind in {"persisted_at": _TIMES, "payload": _TEXTS}.get(column, _NUMBERS | _TEXTS)

    def cursor(self, connection: Any) -> Any:
        """Return a cursor that leaves the rows at the server until they are wanted."""
        return connection.cursor(SSCursor)

    def again(self) -> Self:
        """Return another that reads the same over a connection of its own."""
        return type(self)(self._url, self._options)

"""What faults at a table of PostgreSQL have in common: which rows, and the way to the server."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Generic, LiteralString, Self, TypeVar

import psycopg
from psycopg import sql
from pydantic import Field, model_validator

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes
from lossmeter.world.sessions import connect
from lossmeter.world.site import Site

CONNECT_S = 5

Connection = psycopg.Connection[tuple[object, ...]]


class Rows(Parameters):
    """Which rows of which table: those of events whose sequence leaves a remainder."""

    table: Annotated[str, Field(min_length=1, description="the name of a table")]
    every: Annotated[int, Field(ge=1, description="a whole number of 1 or more")]
    remainder: Annotated[int, Field(ge=0, description="a whole number of 0 or more")]

    @model_validator(mode="after")
    def _chooses_any(self) -> Self:
        if not self.remainder < self.every:
            raise ValueError(
                f"remainder {self.remainder} is never left by a division by {self.every}"
            )
        return self


R = TypeVar("R", bound=Rows)


class AtTable(Fault[R], Generic[R]):
    """A fault at a table that the target inserts into."""

    servers = ("postgres",)
    strikes = frozenset({Strikes.TABLE})

    @abstractmethod
    def names(self) -> dict[str, sql.Composable]:
        """Return what the fault's statements name beside the table and its rows."""

    def sql(self, statement: LiteralString) -> sql.Composed:
        """Return a statement with its names put in."""
        return sql.SQL(statement).format(
            table=sql.Identifier(self.asked.table),
            every=sql.Literal(self.asked.every),
            remainder=sql.Literal(self.asked.remainder),
            **self.names(),
        )

    def connect(self, site: Site, options: str = "") -> Connection:
        """Begin a session with the server, around every proxy.

        Raises:
            FaultError: the target does not use one of the harness.
        """
        if "postgres" not in site.endpoints:
            raise FaultError(f"{self.name()} needs a target that uses the harness's PostgreSQL")
        url = site.endpoints["postgres"].direct["url"]
        return connect(url, autocommit=True, connect_timeout=CONNECT_S, options=options)


def number(connection: Connection, query: LiteralString | sql.Composed) -> int:
    """Return the one number that a query gives; 0 where it gives none."""
    row = connection.execute(query).fetchone()
    return int(str(row[0])) if row else 0

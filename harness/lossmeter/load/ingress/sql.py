"""PostgreSQL: an event is acked when its insert committed, into an outbox or a job table.

A constraint that it violates proves that it had no effect.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Annotated, Any

import psycopg
from pydantic import Field, field_validator

from lossmeter.load.ingress import _serve
from lossmeter.load.ingress._options import OwnOptions
from lossmeter.plan.kinds import Interpolate
from lossmeter.world import beginnings
from lossmeter.world.sessions import connect


class Options(OwnOptions):
    """Which statement, on how many connections.

    Attributes:
        url: of the server.
        statement: with ``%(producer)s``, ``%(sequence)s`` and ``%(payload)s``; committed by
            itself.
        connections: events at once.
    """

    url: str = "{postgres.url}"
    statement: str
    connections: Annotated[int, Field(ge=1, le=64)] = 4

    @field_validator("statement")
    @classmethod
    def _names_the_event(cls, statement: str) -> str:
        for name in ("producer", "sequence"):
            if f"%({name})s" not in statement:
                raise ValueError(f"it does not carry %({name})s: no event could be found again")
        return statement

    def began(self, interpolate: Interpolate) -> str | None:
        """Ask since when the server serves."""
        return beginnings.of_postgres(interpolate(self.url))


class _Inserter:
    """Inserts over one connection, which is made anew after it broke."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._asked = asked
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def insert(self, event: _serve.Event) -> str:
        """Return the word for what became of an event."""
        # Before there is a connection, nothing can have had an effect.
        word = _serve.REFUSED
        try:
            connection = self._connected()
            word = _serve.UNKNOWN
            connection.execute(self._asked["statement"], dict(event))
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
            _serve.note(error)
            return _serve.REFUSED
        except psycopg.Error as error:
            _serve.note(error)
            if self._connection is not None:
                self._connection.close()
            return word
        return _serve.OK

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None or self._connection.closed:
            within_s = max(1, round(self._asked["timeout_s"]))
            url = self._asked["url"]
            self._connection = connect(url, autocommit=True, connect_timeout=within_s)
        return self._connection


def main() -> None:
    """Answer each event of the standard input."""
    asked = _serve.options()
    events: queue.SimpleQueue[_serve.Event | None] = queue.SimpleQueue()
    answers = _serve.Answers()

    def work() -> None:
        inserter = _Inserter(asked)
        while (event := events.get()) is not None:
            answers.give((inserter.insert(event), event["id"]))

    threads = [threading.Thread(target=work) for _ in range(asked["connections"])]
    for thread in threads:
        thread.start()
    answers.ready()
    for batch in _serve.batches():
        for event in batch:
            events.put(event)
    for _ in threads:
        events.put(None)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

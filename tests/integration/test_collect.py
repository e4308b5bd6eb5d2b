"""Rows deleted, doubled, altered or invented by hand in a real PostgreSQL are found, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from harness.collect import Auditor
from harness.ledger.reconcile import INTENT, OUTCOME
from harness.load.schedule import payload, payload_hash
from harness.model import Status
from harness.target import Persisted
from tests.conftest import Server

EVENTS, PRODUCERS, SEED = 400, 4, 7
QUERY = """
select producer, sequence, id as position, persisted_at,
       ('x' || left(md5(payload), 16))::bit(64)::bigint as payload_hash
from handmade
"""


@pytest.fixture
def database(postgres: Server) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            "drop table if exists handmade; create table handmade (id bigserial, "
            "producer bigint, sequence bigint, payload text, "
            "persisted_at timestamptz default clock_timestamp())"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into handmade (producer, sequence, payload) values (%s, %s, %s)",
                [(n % PRODUCERS, n // PRODUCERS, _payload(n)) for n in range(EVENTS)],
            )
        yield connection


def _payload(n: int) -> str:
    return payload(SEED, n % PRODUCERS, n // PRODUCERS, 64)


def _told() -> tuple[np.ndarray, np.ndarray]:
    """Return intents and outcomes: every event was acked, one after the other."""
    n = np.arange(EVENTS)
    intents, outcomes = np.zeros(EVENTS, INTENT), np.zeros(EVENTS, OUTCOME)
    for told in (intents, outcomes):
        told["producer"], told["sequence"] = n % PRODUCERS, n // PRODUCERS
    intents["sent_ns"] = n * 1000
    intents["payload_hash"] = [payload_hash(_payload(i)) for i in range(EVENTS)]
    outcomes["done_ns"] = n * 1000 + 500
    outcomes["status"] = Status.ACKED
    return intents, outcomes


def _auditor(postgres: Server, query: str = QUERY) -> Auditor:
    return Auditor(postgres.url, Persisted(database=postgres.url, query=query))

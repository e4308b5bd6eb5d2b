"""The same insert as a task of Celery, Dramatiq and RQ, each acknowledging after it."""

from __future__ import annotations

import os
import threading

import psycopg

REDIS, DATABASE = "BENCH_REDIS", "BENCH_DATABASE"
_INSERT = (
    "insert into notice (producer, sequence, key, payload, boot_id) values (%s, %s, %s, %s, 'x')"
)
_here = threading.local()


def insert(producer: int, sequence: int, key: str, payload: str) -> None:
    """Insert one notice, on this thread's own connection."""
    connection = getattr(_here, "connection", None)
    # A worker that forks must not share its parent's connection.
    if connection is None or _here.pid != os.getpid():
        connection = psycopg.connect(os.environ[DATABASE], autocommit=True)
        _here.connection, _here.pid = connection, os.getpid()
    connection.execute(_INSERT, (producer, sequence, key, payload))

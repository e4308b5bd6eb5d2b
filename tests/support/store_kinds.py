"""Every kind of store, wherever its server runs, and what tests write into it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from lossmeter.load.schedule import payload
from lossmeter.record.collected import Collected
from lossmeter.world.auditor import Auditor
from tests.support.places import PLACES, Place
from tests.support.stores import (
    Command,
    Jsonl,
    Kafka,
    Mysql,
    Postgres,
    Record,
    Redis,
    Sqlite,
    Webhook,
    Written,
)

NUMBERS = count(1)
KINDS: dict[str, Callable[[Path], Written]] = {
    "sqlite": Sqlite,
    "jsonl": Jsonl,
    "command": Command,
}
SERVED: dict[str, Callable[[Path, Place], Written]] = {
    "postgres": lambda folder, place: Postgres(folder, place("postgres")),
    **{
        f"redis {kind}": lambda folder, place, kind=kind: Redis(folder, place("redis"), kind)
        for kind in ("list", "stream", "set", "hash")
    },
    "kafka": lambda folder, place: Kafka(folder, place("kafka"), f"kept-{next(NUMBERS)}"),
    "mysql": lambda folder, place: Mysql(folder, place("mariadb")),
    "webhook": lambda folder, place: Webhook(folder, place("webhook")),
}
SERVER = {"mysql": "mariadb"}
# A kind that needs no server is the same wherever servers run.
EVERYWHERE = [*KINDS, *(f"{kind}-{place}" for kind in SERVED for place in PLACES)]


def server_of(kind: str) -> str:
    """Return the name of the server that a kind of store is in."""
    name = kind.partition(" ")[0]
    return SERVER.get(name, name)


def but(*without: str) -> list[str]:
    """Return all but some kinds, in each place."""
    return [kind for kind in EVERYWHERE if kind.partition("-")[0] not in without]


# Where an event's id stands in a text, and not in columns.
RECORDS = but("postgres", "mysql", "sqlite")


def events(many: int, producers: int = 3) -> list[Record]:
    ids = [(n % producers, n // producers) for n in range(many)]
    return [{"producer": p, "sequence": s, "payload": payload(7, p, s, 64)} for p, s in ids]


def collected(auditor: Auditor) -> Collected:
    with tempfile.TemporaryDirectory() as folder:
        auditor.save(Path(folder))
        return Collected.load(Path(folder))


def ids(rows: np.ndarray) -> list[tuple[int, int]]:
    return [(int(row["producer"]), int(row["sequence"])) for row in rows]

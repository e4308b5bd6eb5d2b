"""Reading rows back from PostgreSQL: COPY off the wire beside fetchall and COPY text.

Where a way's own CPU is near all of the time, it is what limits; elsewhere the server is,
which makes the rows on the other core meanwhile.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg

from bench.report import Report, Row, at_least, at_most, median
from bench.servers import serving
from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.model import Status
from lossmeter.plan.target import Persisted
from lossmeter.record.arrays import INTENT, OUTCOME, Held, Operations
from lossmeter.record.collected import Collected
from lossmeter.world.auditor import auditor

NAME = "readback"
ROWS, ALL = 1_000_000, 10_000_000
PRODUCERS = 64
QUERY = "select producer, sequence, payload_hash, position, persisted_at from held"
_MAKE = f"""
create unlogged table held as
select i % {PRODUCERS} as producer, i / {PRODUCERS} as sequence, i * 7919 as payload_hash,
       i as position, clock_timestamp() as persisted_at
from generate_series(0::bigint, {ALL - 1}::bigint) as i
"""  # noqa: S608 - numbers of this file


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Read the same rows in each way in turn, then all of them and reconcile."""
    with serving("postgres") as servers:
        url = servers["postgres"]["url"]
        say(f"making {ALL:,} rows")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_MAKE)
            connection.execute(f"create unlogged table few as table held limit {ROWS}".encode())
            connection.execute("vacuum analyze held")
            connection.execute("vacuum analyze few")
        some = QUERY.replace("held", "few")
        ways: dict[str, Callable[[], int]] = {
            "COPY binary into a file": lambda: _by_auditor(url, some),
            "COPY text, pandas": lambda: _by_text(url, some),
            "fetchall": lambda: _by_fetchall(url, some),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                say(f"round {number + 1} of {rounds}: {name}")
                begin, used = time.perf_counter(), time.process_time()
                if way() != ROWS:
                    raise RuntimeError(f"{name} did not read all rows")
                spent = time.perf_counter() - begin, time.process_time() - used
                found[name].append(spent)
        whole = [_whole(url, say) for _ in range(rounds)]
    rates = {
        name: ROWS / median([all_s for all_s, _ in each]) / 1e6 for name, each in found.items()
    }
    ours = rates["COPY binary into a file"]
    rows = [
        Row(
            name,
            f"{ROWS:,} rows",
            round(rate, 3),
            "million rows/s",
            ours / rate,
            f"own CPU {median([own_s / all_s for all_s, own_s in found[name]]):.0%} of the time",
        )
        for name, rate in rates.items()
    ]
    read_s, judge_s = median([read for read, _ in whole]), median([judge for _, judge in whole])
    total_s = median([read + judge for read, judge in whole])
    rows.append(
        Row(
            "read and reconcile",
            f"{ALL:,} rows",
            round(total_s, 3),
            "seconds",
            None,
            f"read {read_s:.2f} s, reconcile {judge_s:.2f} s",
        )
    )
    return Report(
        NAME,
        "Reading back what was persisted",
        "Five columns of one table, over TCP; ours as a run does it, into its folder, and from "
        "there into an array.",
        rounds,
        rows,
        [
            at_least("times as fast as fetchall", ours / rates["fetchall"], 2),
            at_most("seconds for 10 million, read and reconciled", total_s, 4),
        ],
    )


def _whole(url: str, say: Callable[[str], None]) -> tuple[float, float]:
    """Return the seconds that reading took, and those of reconciling."""
    say(f"reading and reconciling {ALL:,} rows")
    place = np.arange(ALL)
    intents, outcomes = np.zeros(ALL, INTENT), np.zeros(ALL, OUTCOME)
    for operations in (intents, outcomes):
        operations["producer"], operations["sequence"] = place % PRODUCERS, place // PRODUCERS
    intents["sent_ns"], outcomes["done_ns"] = place * 1000, place * 1000 + 500
    intents["payload_hash"], outcomes["status"] = place * 7919, Status.ACKED
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        auditor("bench", Persisted(database=url, query=QUERY)).save(Path(folder))
        held = Collected.load(Path(folder))
    read_s = time.perf_counter() - begin
    begin = time.perf_counter()
    ledger = reconcile(
        Operations(intents, outcomes), Held(held.rows, held.dead_lettered, held.pending)
    )
    judge_s = time.perf_counter() - begin
    counts = ledger.counts
    if (counts.delivered, counts.corrupted, counts.reordered) != (ALL, 0, 0):
        raise RuntimeError(f"what was read back is not what was written: {counts}")
    return read_s, judge_s


def _by_auditor(url: str, query: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        auditor("bench", Persisted(database=url, query=query)).save(Path(folder))
        return len(Collected.load(Path(folder)).rows)


def _by_fetchall(url: str, query: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute(query.encode()).fetchall())


def _by_text(url: str, query: str) -> int:
    statement = f"copy ({query}) to stdout (format csv)".encode()
    with psycopg.connect(url) as connection, connection.cursor().copy(statement) as copy:
        data = b"".join(bytes(part) for part in copy)
    return len(pd.read_csv(io.BytesIO(data), header=None))

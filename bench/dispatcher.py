"""The reference dispatcher beside Celery, Dramatiq and RQ: same Redis, same table.

Peers get all events enqueued beforehand, two worker processes (Dramatiq with threads, RQ
without its fork for each job), and are timed from their first row to their last. The
dispatcher is timed in the same way, but takes its events over HTTP meanwhile, in one
process, from the journalled load.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from redis import Redis

from bench import peers
from bench.pieces import Found, Piece, Say
from bench.report import Goal, Report, Row, at_least, median
from bench.servers import dispatching, serving
from lossmeter.commands._shared import runtime_named
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.collected import Collected
from lossmeter.run.narrator import Silent
from lossmeter.run.story import Ask
from lossmeter.run.story import run as run_cell
from lossmeter.studies.capacity import cell_at
from lossmeter_dispatcher.store import SCHEMA

NAME = "dispatcher"
EVENTS = 6_000
WITHIN_S = 120.0
HOLD_S = 30.0
# Offered to find out what is kept: about what one process takes, or more.
OFFERED = {"redis-batch": (12_000.0, 8.0), "kafka-batch": (12_000.0, 8.0)}
SUSTAINED = {"redis-batch": 3_000.0, "kafka-batch": 5_000.0}
ARRAY, SENDERS, ARRAYS_S = 500, 4, 6.0
_PAYLOAD = "x" * 64


def _throughput(say: Say) -> dict[str, float]:
    """Let each persist in turn."""
    found = {}
    for name, (rate, seconds) in OFFERED.items():
        say(name)
        found[name] = _ours(name, rate, seconds).per_s
    with serving("postgres", "redis") as servers:
        for name, peer in PEERS.items():
            say(name)
            found[name] = _theirs(peer, servers)
    return found


def _held(name: str) -> Callable[[Say], dict[str, float]]:
    def measure(say: Say) -> dict[str, float]:
        say(f"{name}: {SUSTAINED[name]:g} events/s for {HOLD_S:g} s")
        return asdict(_ours(name, SUSTAINED[name], HOLD_S))

    return measure


PIECES = {
    "throughput": Piece(_throughput),
    **{f"{name}-held": Piece(_held(name), 3) for name in SUSTAINED},
    "arrays": Piece(lambda _: _arrays(), 3),
}


def report(found: Found) -> Report:
    """Put what was found beside each other."""
    names = (*OFFERED, *PEERS)
    rates = {name: median([each[name] for each in found["throughput"]]) for name in names}
    held = {
        name: _worst([_Kept(**kept) for kept in found[f"{name}-held"]])
        for name in SUSTAINED
        if found[f"{name}-held"]
    }
    arrays, ours = median(found["arrays"]), rates["redis-batch"]
    rows = [
        Row(name, "persists", round(rate), "events/s", ours / rate)
        for name, rate in rates.items()
        if found["throughput"]
    ]
    rows += [
        Row(
            f"{name}, {HOLD_S:g} s",
            f"{SUSTAINED[name]:g}/s asked",
            round(kept.per_s),
            "events/s",
            None,
            f"{kept.lost} lost of {kept.acked:,} acked, of {kept.sent:,} sent",
        )
        for name, kept in held.items()
    ]
    if found["arrays"]:
        rows.append(Row("redis-batch, arrays", f"of {ARRAY}", round(arrays), "events/s"))
    return Report(
        NAME,
        "Events persisted by dispatchers",
        "PostgreSQL and the broker on the same machine, handlers that only insert; of what was "
        "held the worst round.",
        len(found["throughput"]),
        rows,
        [
            *(at_least(f"times {name}", ours / rates[name], 3) for name in PEERS),
            *(_goal(name, held.get(name)) for name in SUSTAINED),
            at_least("events/s in arrays", arrays, 20_000),
        ],
    )


def _worst(rounds: list[_Kept]) -> _Kept:
    return min(rounds, key=lambda kept: (-kept.lost, kept.per_s))


def _goal(name: str, kept: _Kept | None) -> Goal:
    asked = SUSTAINED[name]
    text = f"{name} persists {asked:g}/s for {HOLD_S:g} s, 0 lost"
    if kept is None:
        return Goal(text, None, met=False)
    met = kept.per_s >= 0.99 * asked and kept.lost == 0 and kept.acked == kept.sent
    short = None if met or kept.per_s >= asked else round(asked / kept.per_s, 3)
    return Goal(text, kept.per_s, met, short)


@dataclass(frozen=True, slots=True)
class _Kept:
    per_s: float
    sent: int
    acked: int
    lost: int


def _ours(name: str, rate_per_s: float, seconds: float) -> _Kept:
    """Run a target under load, judged as any run is."""
    cell = cell_at(Catalogue.here().target(name), rate_per_s, seconds)
    cell = replace(cell, variant=replace(cell.variant, settings={"handler_time_s": 0}))
    with tempfile.TemporaryDirectory() as folder:
        ask = Ask(cell, runtime_named("local"), 1, Path(folder), Silent())
        result = run_cell(ask)
        if not result.counts.acked:
            raise RuntimeError(f"{name}: {result.reason}")
        rows = Collected.load(Path(folder).resolve() / result.run_id).rows
    counts = result.counts
    seconds = (int(rows["persisted_ns"].max()) - int(rows["persisted_ns"].min())) / 1e9
    return _Kept(len(rows) / seconds, counts.sent, counts.acked, counts.lost)


def _theirs(peer: Peer, servers: Mapping[str, Mapping[str, str]]) -> float:
    """Enqueue all, start the workers, and return the rate from the first row to the last."""
    redis, url = servers["redis"], servers["postgres"]["url"]
    broker = f"redis://:{redis['password']}@{redis['address']}/0"
    environment = os.environ | {peers.REDIS: broker, peers.DATABASE: url}
    with psycopg.connect(url, autocommit=True) as database, Redis.from_url(broker) as client:
        client.flushall()
        database.execute("drop table if exists notice, dead_letter")
        database.execute(SCHEMA)
        filled = subprocess.run(
            [sys.executable, "-c", peer.fill, str(EVENTS), _PAYLOAD],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if filled.returncode:
            raise RuntimeError(filled.stderr[-800:])
        with _worker(peer.work, environment):
            _until_all(database)
        row = database.execute(
            "select count(*) / extract(epoch from max(persisted_at) - min(persisted_at)) "
            "from notice"
        ).fetchone()
    return float(row[0]) if row else 0.0


@contextmanager
def _worker(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    worker = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.terminate()
        try:
            worker.wait(15)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _until_all(database: psycopg.Connection[tuple[object, ...]]) -> None:
    deadline = time.monotonic() + WITHIN_S
    rows: object = 0
    while time.monotonic() < deadline:
        row = database.execute("select count(*) from notice").fetchone()
        rows = row[0] if row else 0
        if rows == EVENTS:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{rows} of {EVENTS} events were persisted within {WITHIN_S:g} s")


@dataclass(frozen=True, slots=True)
class Peer:
    """How events are enqueued, and which module works on them."""

    fill: str
    work: tuple[str, ...]


_FILL = """
import sys
{start}
for n in range(int(sys.argv[1])):
    {enqueue}
"""
PEERS = {
    "Celery": Peer(
        _FILL.format(
            start="from bench.peer_celery import handle",
            enqueue="handle.delay(n % 8, n // 8, str(n % 8), sys.argv[2])",
        ),
        ("celery", "-A", "bench.peer_celery", "worker", "--concurrency", "2", "-l", "ERROR"),
    ),
    "Dramatiq": Peer(
        _FILL.format(
            start="from bench.peer_dramatiq import handle",
            enqueue="handle.send(n % 8, n // 8, str(n % 8), sys.argv[2])",
        ),
        ("dramatiq", "bench.peer_dramatiq", "--processes", "2", "--threads", "8"),
    ),
    "RQ": Peer(
        _FILL.format(
            start=(
                "import os\nfrom redis import Redis\nfrom rq import Queue\n"
                "from bench.peers import insert\n"
                "queue = Queue(connection=Redis.from_url(os.environ['BENCH_REDIS']))"
            ),
            enqueue=("queue.enqueue(insert, n % 8, n // 8, str(n % 8), sys.argv[2], result_ttl=0)"),
        ),
        ("bench.peer_rq",),
    ),
}


def _arrays() -> float:
    """Send arrays of events from a few threads and return the rate of the rows."""
    settings = {"DISPATCHER_HANDLER__TIME_S": "0", "DISPATCHER_WORKERS": "1000"}
    with dispatching("redis-batch", settings) as site:
        parts = urlsplit(site.base_url)
        stop = time.monotonic() + ARRAYS_S
        acked = [0] * SENDERS
        threads = [
            threading.Thread(target=_send, args=(parts.hostname, parts.port, n, stop, acked))
            for n in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with psycopg.connect(site.endpoints["postgres"].direct["url"], autocommit=True) as base:
            return _rate_of(base, sum(acked))


def _rate_of(database: psycopg.Connection[tuple[object, ...]], acked: int) -> float:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        row = database.execute(
            "select count(*), extract(epoch from max(persisted_at) - min(persisted_at)) from notice"
        ).fetchone()
        if row and int(str(row[0])) == acked:
            return acked / float(str(row[1]))
        time.sleep(0.2)
    raise RuntimeError(f"not all of the {acked} acked events were persisted: {row}")


def _send(host: str, port: int, producer: int, stop: float, acked: list[int]) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    sequence = 0
    while time.monotonic() < stop:
        events = [
            {"producer": producer, "sequence": sequence + n, "key": "", "payload": _PAYLOAD}
            for n in range(ARRAY)
        ]
        connection.request("POST", "/events", json.dumps(events))
        answer = connection.getresponse()
        answer.read()
        # 503 says that none was queued; of a mixed answer the rate would not be known.
        if answer.status == 202:
            acked[producer] += ARRAY
            sequence += ARRAY
        elif answer.status != 503:
            raise RuntimeError(f"arrays were answered {answer.status}")
    connection.close()

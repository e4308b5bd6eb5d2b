"""The highest rate of each kind of ingress, beside what its client does without a journal.

Ours is the whole way of a run: schedule, journal, pipe, the kind's program, its real server. The
other is the same program by itself, fed by its pipe as fast as it reads, with nothing written
down. For HTTP, where the load speaks itself, it is Locust's FastHttpUser on the same nginx.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from bench import load
from bench.pieces import Say
from bench.report import Report, Row, at_least, median
from bench.servers import serving
from lossmeter.load.ingress import options_of
from lossmeter.load.pipe import start
from lossmeter.load.plan import Feeder
from lossmeter.load.schedule import payload
from lossmeter.world.isolation import python_environment

NAME = "ingresses"
PAYLOAD_BYTES = 64
IN_FLIGHT = 1000
# What the journal and the schedule may cost at the most.
LEAST_SHARE = 0.3
_ROOT = Path(__file__).resolve().parents[1]
_LEAD_S = 5.0
_CALLABLE = "def take(event):\n    pass\n"
_TABLE = "create table outbox (producer bigint, sequence bigint, payload text)"
_INSERT = "insert into outbox values (%(producer)s, %(sequence)s, %(payload)s)"
_LOGIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "{kafka.username}",
    "sasl.password": "{kafka.password}",
}

Reached = Mapping[str, Mapping[str, str]]


def _nothing(_: Reached, __: Path) -> None:
    pass


def _callable(_: Reached, folder: Path) -> None:
    (folder / "calls.py").write_text(_CALLABLE, encoding="utf-8")


def _table(reached: Reached, _: Path) -> None:
    with psycopg.connect(reached["postgres"]["url"], autocommit=True) as connection:
        connection.execute("drop table if exists outbox")
        connection.execute(_TABLE)


def _topic(reached: Reached, _: Path) -> None:
    at = reached["kafka"]
    login = {name: _filled(value, {"kafka": at}) for name, value in _LOGIN.items()}
    admin = AdminClient({"bootstrap.servers": at["address"], **login})
    if "outbox" not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic("outbox", 1, 1)])["outbox"].result(20)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of ingress.

    Attributes:
        does: what it does with an event, in words.
        table: ``[ingress]`` of a target file.
        events: how many are handed over.
        server: which one takes them; empty for none.
        prepare: makes what the server needs.
    """

    does: str
    table: Mapping[str, Any]
    events: int
    server: str = ""
    prepare: Callable[[Reached, Path], None] = _nothing


# A kind that comes later is one entry here.
KINDS: Mapping[str, Kind] = {
    "python": Kind("calls a function that returns", {"call": "calls:take"}, 40_000, "", _callable),
    "program": Kind(
        "docs/examples/ingress/feed.py, a line of a file",
        {"command": ["{python}", "-u", str(_ROOT / "docs" / "examples" / "ingress" / "feed.py")]},
        40_000,
    ),
    "redis": Kind("RPUSH", {"command": "RPUSH", "key": "outbox"}, 40_000, "redis"),
    "kafka": Kind(
        "acks=all, one partition", {"topic": "outbox", "settings": _LOGIN}, 40_000, "kafka", _topic
    ),
    "amqp": Kind("a confirm for each, a durable queue", {"queue": "outbox"}, 20_000, "rabbitmq"),
    "sql": Kind(
        "an insert and its commit, 4 connections", {"statement": _INSERT}, 8_000, "postgres", _table
    ),
}


def run(rounds: int, say: Say) -> Report:
    """Measure every kind, both ways in turn."""
    found: dict[str, list[tuple[float, float]]] = {}
    with load.nginx(load.CORE_0) as server:
        found["http"] = [
            (load.ours(server.url), load.fast(server.url)) for _ in _rounds("http", rounds, say)
        ]
    servers = sorted({kind.server for kind in KINDS.values() if kind.server})
    with serving(*servers) as reached:
        for name, kind in KINDS.items():
            found[name] = [_both(name, kind, reached) for _ in _rounds(name, rounds, say)]
    return report(found)


def _rounds(name: str, rounds: int, say: Say) -> range:
    say(f"{NAME} {name}, {rounds} rounds")
    return range(rounds)


def report(found: Mapping[str, list[tuple[float, float]]]) -> Report:
    """Return both rates of each kind, events/s."""
    rows, goals = [], []
    for name, rounds in found.items():
        ours, alone = (median([each[at] for each in rounds]) for at in (0, 1))
        does = KINDS[name].does if name in KINDS else "POST to nginx"
        other = "its program alone" if name in KINDS else "Locust FastHttpUser"
        rows.append(Row(f"{name}, journalled", does, round(ours), "events/s"))
        rows.append(Row(f"{name}, {other}", does, round(alone), "events/s", ours / alone))
        goals.append(at_least(f"of what {other} does: {name}", ours / alone, LEAST_SHARE))
    return Report(
        NAME,
        "The highest rate of each kind of ingress",
        f"One load process, {PAYLOAD_BYTES} bytes a payload; asked for more than can be done, each "
        "event journalled before it is handed over and after its answer.",
        len(next(iter(found.values()))),
        rows,
        goals,
    )


def _both(name: str, kind: Kind, reached: Reached) -> tuple[float, float]:
    """Return how many events a second are acked on the way of a run, and by the program alone."""
    options = options_of("bench", {"kind": name, **kind.table})
    words = {**reached, "": {"python": sys.executable}}

    def put_in(text: str) -> str:
        return _filled(text, words)

    with tempfile.TemporaryDirectory(prefix="lossmeter-bench-") as name_of_folder:
        folder = Path(name_of_folder)
        kind.prepare(reached, folder)
        feeder = Feeder(options.command(put_in), str(folder), _LEAD_S)
        given = options.variables(put_in)
        rate = load.fed(feeder, given, kind.events, IN_FLIGHT, PAYLOAD_BYTES)
        return rate, _alone(feeder, given, kind.events, folder / "alone.log")


def _filled(text: str, words: Reached) -> str:
    for server, values in words.items():
        for name, value in values.items():
            text = text.replace("{" + f"{server}.{name}".lstrip(".") + "}", value)
    return text


def _alone(feeder: Feeder, given: Mapping[str, str], events: int, log: Path) -> float:
    """Feed a program all events at once; return how many it acked a second."""
    lines = b"".join(_line(number) for number in range(events))
    with start(feeder, {**python_environment(), **given}, log) as popen:
        if popen.stdin is None or popen.stdout is None or popen.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{feeder.argv} does not come up: {log.read_text(encoding='utf-8')}")

        def write(into: Any) -> None:
            with into:
                for begin in range(0, len(lines), 1 << 16):
                    # A pipe takes what it has room for.
                    part = memoryview(lines)[begin : begin + (1 << 16)]
                    while part:
                        part = part[into.write(part) :]

        begin = time.monotonic()
        writer = threading.Thread(target=write, args=(popen.stdin,))
        writer.start()
        acked, rest = 0, b""
        while data := popen.stdout.read(1 << 16):
            *answers, rest = (rest + data).split(b"\n")
            acked += sum(answer.startswith(b"ok ") for answer in answers)
        took_s = time.monotonic() - begin
        writer.join()
    if acked != events:
        raise RuntimeError(f"{acked} of {events} events were acked")
    return events / took_s


def _line(number: int) -> bytes:
    event = {
        "id": f"0-{number}",
        "producer": 0,
        "sequence": number,
        "payload": payload(1, 0, number, PAYLOAD_BYTES),
    }
    return json.dumps(event).encode() + b"\n"

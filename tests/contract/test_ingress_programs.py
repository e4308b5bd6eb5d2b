"""Ingresses that need no server: programs, callables, and what is asked of them wrongly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lossmeter.errors import UsageError
from lossmeter.load.carrier import Carrier
from lossmeter.load.ingress import options_of
from lossmeter.world.ports import free_port
from tests.support.feeding import EVENTS, Feeding, statuses

CALLED = """
import queue
class Line:
    def __init__(self): self.room = 30
    def put(self, producer, sequence, payload):
        print("what the user's code prints is no answer")
        if sequence == 1: raise queue.Full
        if sequence == 2: raise RuntimeError("who knows")
        open("called.txt", "a").write(f"{producer} {sequence} {payload[:4]}\\n")
line = Line()
"""


def test_a_callable_acks_when_it_returns(feeding: Feeding) -> None:
    (feeding.folder / "mine.py").write_text(CALLED, encoding="utf-8")
    # A module of a name that the standard library has must not get in the way.
    (feeding.folder / "statistics.py").write_text("raise SystemExit('shadowed')\n", "utf-8")
    table = {
        "kind": "python",
        "call": "mine:line.put",
        "refused": ["queue.Full", "_queue.Full"],
        "arguments": ["$producer", "$sequence"],
        "keywords": {"payload": "$payload"},
    }
    journals = feeding.feed(table)
    producers = len(set(journals.intents["producer"].tolist()))
    assert statuses(journals) == Counter(
        acked=EVENTS - 2 * producers, refused=producers, unknown=producers
    )
    called = (feeding.folder / "called.txt").read_text("utf-8").splitlines()
    assert len(called) == EVENTS - 2 * producers


EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "ingress"


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("feed.py", [sys.executable]),
        ("feed.mjs", ["node"]),
        ("feed.go", ["go"]),
    ],
)
def test_the_examples_of_the_guide_ack_what_they_wrote(
    feeding: Feeding, file: str, command: list[str]
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"this machine has no {command[0]}")
    words = [*command, str(EXAMPLES / file)]
    if command == ["go"]:
        built = str(feeding.folder / "feed")
        subprocess.run(["go", "build", "-o", built, words[1]], check=True, timeout=240)
        words = [built]
    journals = feeding.feed({"kind": "program", "command": words})
    assert statuses(journals) == Counter(acked=EVENTS, refused=0, unknown=0)
    lines = (feeding.folder / "events.jsonl").read_text("utf-8").splitlines()
    written = [(event["producer"], event["sequence"]) for event in map(json.loads, lines)]
    assert sorted(written) == sorted(journals.intents[["producer", "sequence"]].tolist())


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "redis", "command": "LPUSH", "key": "k", "url": "redis://127.0.0.1:{port}/0"},
        {"kind": "sql", "statement": "%(producer)s%(sequence)s", "url": "{sql}"},
        {"kind": "kafka", "topic": "t", "address": "127.0.0.1:{port}", "timeout_s": 2},
        {"kind": "amqp", "queue": "q", "url": "amqp://x:y@127.0.0.1:{port}/%2F", "timeout_s": 2},
    ],
    ids=lambda table: str(table["kind"]),
)
def test_a_server_that_is_away_acks_nothing(feeding: Feeding, table: dict[str, Any]) -> None:
    port = str(free_port())
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    journals = feeding.feed(table, {"port": port, "sql": url}, events=40)
    assert statuses(journals)["acked"] == 0


def test_a_program_that_is_killed_leaves_what_is_open_unknown(feeding: Feeding) -> None:
    source = """
import time
for n, event in enumerate(events()):
    if n < 50: print("ok", event["id"])
"""
    table = feeding.program(source, timeout_s=5)

    def kill(carrier: Carrier) -> None:
        time.sleep(2.4)
        os.kill(carrier._sender._popen.pid, signal.SIGKILL)  # type: ignore[attr-defined]

    begin = time.monotonic()
    journals = feeding.feed(table, meanwhile=kill)
    assert statuses(journals) == Counter(acked=50, refused=0, unknown=EVENTS - 50)
    assert time.monotonic() - begin < 5, "nobody waits for a program that has ended"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("for e in events(): print('ok', e['id']); print('ok', e['id'])", (40, 0, 0)),
        ("for e in events(): print('refused', e['id'], 'no room')", (0, 40, 0)),
        ("for e in events(): print('unknown', e['id'])", (0, 0, 40)),
        ("for e in events(): print('refused', e['id']); print('ok', e['id'])", (40, 0, 0)),
        ("for e in events(): print('ok 77-5'); print('ok 0-999999')", (0, 0, 40)),
        (
            "for e in events(): print('OK', e['id']); print('ok'); print('\\x00\\xff' * 40)",
            (0, 0, 40),
        ),
        ("for e in events(): print('ok -1-5', e['id'])", (0, 0, 40)),
        ("sys.stdout.write('x' * 300000); sys.stdout.flush()\nfor e in events(): pass", (0, 0, 40)),
        ("for e in events(): print('ok', e['id'], end='\\r\\n')", (40, 0, 0)),
        ("held = [e['id'] for e in events()]\nfor i in held: print('ok', i)", (40, 0, 0)),
        ("sys.exit(3)", (0, 0, 40)),
    ],
)
def test_only_an_answer_of_its_own_decides_an_event(
    feeding: Feeding, source: str, expected: tuple[int, int, int]
) -> None:
    journals = feeding.feed(feeding.program(source, timeout_s=1), events=40)
    acked, refused, unknown = expected
    assert statuses(journals) == Counter(acked=acked, refused=refused, unknown=unknown)


def test_an_answer_after_the_time_out_is_an_ack_all_the_same(feeding: Feeding) -> None:
    source = """
import threading
for event in events():
    threading.Timer(1.2, print, ("ok", event["id"])).start()
"""
    journals = feeding.feed(feeding.program(source, timeout_s=1), events=400)
    first = journals.intents["sent_ns"].min()
    early = int((journals.intents["sent_ns"] < first + 500_000_000).sum())
    assert statuses(journals)["acked"] >= early, "they were answered while the load still ran"
    assert statuses(journals)["refused"] == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"kind": "carrier-pigeon"},
            "ingress 'carrier-pigeon' does not exist; known are amqp, kafka",
        ),
        ({"kind": "redis", "key": "k"}, "ingress.command: Field required"),
        (
            {"kind": "redis", "command": "GET", "key": "k"},
            "ingress.command: Input should be 'LPUSH'",
        ),
        ({"kind": "python", "call": "no colon"}, "ingress.call"),
        ({"kind": "python", "call": "m:f", "arguments": ["$sequence"]}, "does not carry $producer"),
        ({"kind": "python", "call": "m:f", "arguments": ["$nonsense"]}, "may use $producer"),
        ({"kind": "sql", "statement": "insert"}, "does not carry %(producer)s"),
        ({"kind": "kafka", "topic": "t", "acks": "2"}, "ingress.acks"),
        ({"kind": "amqp"}, "it leads nowhere"),
        ({"kind": "amqp", "queue": "q", "url": "http://x"}, "ingress.url"),
        ({"kind": "amqp", "queue": "q", "body": "x"}, "does not carry $producer"),
        ({"kind": "amqp", "queue": "q", "properties": {"colour": 1}}, "ingress.properties.colour"),
        (
            {"kind": "amqp", "queue": "q", "mandatory": True, "confirm": False},
            "mandatory needs confirm",
        ),
        ({"kind": "program", "command": []}, "ingress.command"),
        ({"kind": "program", "command": ["x"], "colour": "red"}, "ingress.colour: Extra inputs"),
    ],
)
def test_options_that_cannot_be_are_refused_with_one_sentence(
    table: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match="target t: ") as caught:
        options_of("t", table)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)

"""Every ingress with a server that freezes, or is killed, while events are handed over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pika
import psycopg
import pytest
import redis as redis_client
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from lossmeter.load import ingress
from lossmeter.load.carrier import Carrier
from lossmeter.model import Status
from lossmeter.plugins import names_in
from lossmeter.record.answers import classify
from lossmeter.record.journals import Journals
from tests.support.feeding import Feeding
from tests.support.places import Place
from tests.support.servers import Server, kafka_login, redis_url

pytestmark = pytest.mark.everywhere

# The load begins 2 s after it was planned, and then lasts for 2 s.
EVENTS, STRUCK_AFTER_S, FROZEN_S, TIMEOUT_S = 800, 2.7, 1.5, 1.0
# For so long no answer came: longer than any of a server that is merely busy.
FELT_S = 0.8
NAMES = (f"struck-{number}" for number in count(1))
Ids = set[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Struck:
    """An ingress whose server is struck.

    Attributes:
        server: its name.
        table: what ``[ingress]`` says, given a name for what holds the events.
        reach: what is interpolated.
        begin, held: makes what holds the events, and reads which these are.
    """

    server: str
    table: Callable[[str], dict[str, Any]]
    reach: Callable[[Server], dict[str, str]]
    begin: Callable[[Server, str], object]
    held: Callable[[Server, str], list[str | bytes]]


def _kept_at_once(server: Server, _: str) -> None:
    # By default up to 2 s of what a Redis has answered are lost with it: not the ingress's doing.
    with redis_client.Redis.from_url(redis_url(server)) as client:
        client.config_set("appendfsync", "always")


def _listed(server: Server, name: str) -> list[str | bytes]:
    with redis_client.Redis.from_url(redis_url(server), decode_responses=True) as client:
        held: list[str | bytes] = client.lrange(name, 0, -1)
        client.delete(name)
        return held


def _tabled(server: Server, name: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'create table "{name}" (producer int, sequence int, payload text)')


def _selected(server: Server, name: str) -> list[str | bytes]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        rows = connection.execute(f'select row_to_json(t)::text from "{name}" t').fetchall()
        connection.execute(f'drop table "{name}"')
        return [row[0] for row in rows]


def _topic(server: Server, name: str) -> None:
    admin = AdminClient(kafka_login(server))
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)


def _consumed(server: Server, name: str) -> list[str | bytes]:
    consumer = Consumer({**kafka_login(server), "group.id": name, "enable.partition.eof": True})
    consumer.assign([TopicPartition(name, 0, 0)])
    held: list[str | bytes] = []
    ended, deadline = False, time.monotonic() + 30
    while not ended and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        error = message.error()
        ended = error is not None and error.code() == KafkaError._PARTITION_EOF
        if error is None:
            held.append(message.value() or b"")
    consumer.close()
    assert ended
    return held


def _queued(server: Server, name: str) -> list[str | bytes]:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        held: list[str | bytes] = []
        while (body := channel.basic_get(name, auto_ack=True)[2]) is not None:
            held.append(body)
        channel.queue_delete(name)
        return held


def _kafka_table(name: str) -> dict[str, Any]:
    login = kafka_login(Server("{kafka.address}", "{kafka.password}", "{kafka.username}", ""))
    settings = {key: value for key, value in login.items() if key != "bootstrap.servers"}
    return {"kind": "kafka", "topic": name, "acks": "all", "settings": settings}


STRUCK: Mapping[str, Struck] = {
    "redis": Struck(
        "redis",
        lambda name: {"kind": "redis", "command": "RPUSH", "key": name},
        lambda server: {"redis.url": redis_url(server)},
        _kept_at_once,
        _listed,
    ),
    "sql": Struck(
        "postgres",
        lambda name: {
            "kind": "sql",
            "statement": f'insert into "{name}" values (%(producer)s, %(sequence)s, %(payload)s)',
        },
        lambda server: {"postgres.url": server.url},
        _tabled,
        _selected,
    ),
    "kafka": Struck(
        "kafka",
        _kafka_table,
        lambda server: {
            "kafka.address": server.address,
            "kafka.username": server.username,
            "kafka.password": server.password,
        },
        _topic,
        _consumed,
    ),
    "amqp": Struck(
        "rabbitmq",
        lambda name: {"kind": "amqp", "queue": name},
        lambda server: {"rabbitmq.url": server.url},
        lambda *_: None,
        _queued,
    ),
}


def test_every_ingress_with_a_server_is_struck() -> None:
    assert STRUCK.keys() == set(names_in(ingress)) - {"program", "python"}


@pytest.mark.parametrize("how", ["frozen", "killed"])
@pytest.mark.parametrize("kind", STRUCK)
def test_what_was_acked_is_there_and_what_was_refused_is_not(
    feeding: Feeding, place: Place, kind: str, how: str
) -> None:
    struck, name = STRUCK[kind], next(NAMES)
    server = place(struck.server)
    struck.begin(server, name)

    def strike(_: Carrier) -> None:
        time.sleep(STRUCK_AFTER_S)
        if how == "killed":
            place.kill(struck.server)
        else:
            with place.frozen(struck.server):
                time.sleep(FROZEN_S)

    table = {**struck.table(name), "timeout_s": TIMEOUT_S}
    try:
        journals = feeding.feed(table, struck.reach(server), meanwhile=strike, events=EVENTS)
    finally:
        if how == "killed":
            place.start_again(struck.server)
    events = [json.loads(text) for text in struck.held(server, name)]
    held: Ids = {(event["producer"], event["sequence"]) for event in events}
    acked, refused = (_of(journals, status) for status in (Status.ACKED, Status.REFUSED))
    assert acked, "the load had begun"
    assert len(acked) < EVENTS or _longest_s(journals) > FELT_S, "it was not over"
    assert acked <= held
    assert not refused & held


def _longest_s(journals: Journals) -> float:
    """Return how long the answers stayed away that the server gave when it could again."""
    answered = np.sort(journals.outcomes["done_ns"])
    return float(np.diff(answered).max()) / 1e9


def _of(journals: Journals, status: Status) -> Ids:
    outcomes = journals.outcomes
    found = [classify(int(code), (), ()) is status for code in outcomes["code"]]
    return set(map(tuple, outcomes[found][["producer", "sequence"]].tolist()))

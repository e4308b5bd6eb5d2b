"""One contract for every ingress with a server: what its answer proves, and what it does not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pika
import psycopg
import pytest
import redis as redis_client
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from lossmeter.model import Address
from tests.support.feeding import EVENTS, Feeding, statuses
from tests.support.servers import Server, kafka_login, redis_url

pytestmark = pytest.mark.everywhere


def test_redis_acks_what_the_list_holds(feeding: Feeding, redis: Server) -> None:
    table = {"kind": "redis", "command": "RPUSH", "key": "contract-list", "url": "{redis.url}"}
    client = _redis(redis)
    client.delete("contract-list")
    journals = feeding.feed(table, {"redis.url": redis_url(redis)})
    assert statuses(journals) == Counter(acked=EVENTS, refused=0, unknown=0)
    held = client.lrange("contract-list", 0, -1)
    sent = journals.intents[["producer", "sequence"]].tolist()
    assert sorted((e["producer"], e["sequence"]) for e in map(json.loads, held)) == sorted(sent)
    client.delete("contract-list")


def test_a_command_that_redis_refuses_had_no_effect(feeding: Feeding, redis: Server) -> None:
    client = _redis(redis)
    client.set("contract-text", "not a list")
    table = {"kind": "redis", "command": "LPUSH", "key": "contract-text"}
    journals = feeding.feed(table, {"redis.url": redis_url(redis)}, events=40)
    assert statuses(journals) == Counter(acked=0, refused=40, unknown=0)
    client.delete("contract-text")


def test_fewer_replicas_than_asked_leave_an_event_unknown(feeding: Feeding, redis: Server) -> None:
    table = {
        "kind": "redis",
        "command": "XADD",
        "key": "contract-stream",
        "wait_replicas": 1,
        "timeout_s": 0.5,
    }
    journals = feeding.feed(table, {"redis.url": redis_url(redis)}, events=20)
    assert statuses(journals)["acked"] == 0
    assert statuses(journals)["refused"] == 0
    _redis(redis).delete("contract-stream")


def test_sql_acks_what_is_committed(feeding: Feeding, postgres: Server) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists outbox")
        connection.execute(
            "create table outbox (producer int, sequence int, payload text, "
            "check (sequence <> 3), primary key (producer, sequence))"
        )
        statement = "insert into outbox values (%(producer)s, %(sequence)s, %(payload)s)"
        table = {"kind": "sql", "statement": statement}
        journals = feeding.feed(table, {"postgres.url": postgres.url})
        rows = connection.execute("select count(*) from outbox").fetchone()
        producers = len(set(journals.intents["producer"].tolist()))
        assert statuses(journals) == Counter(
            acked=EVENTS - producers, refused=producers, unknown=0
        ), "the third event of each producer violates the constraint"
        assert rows == (EVENTS - producers,)
        connection.execute("drop table outbox")


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_kafka_acks_what_is_reported(feeding: Feeding, kafka: Server, acks: str) -> None:
    topic = f"contract-{acks}"
    admin = AdminClient(kafka_login(kafka))
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    names = {"kafka.username": kafka.username, "kafka.password": kafka.password}
    login = kafka_login(Server("{kafka.address}", "{kafka.password}", "{kafka.username}", ""))
    settings = {name: value for name, value in login.items() if name != "bootstrap.servers"}
    table = {"kind": "kafka", "topic": topic, "acks": acks, "settings": settings}
    journals = feeding.feed(table, {"kafka.address": kafka.address, **names})
    assert statuses(journals) == Counter(acked=EVENTS, refused=0, unknown=0)
    assert _consumed(kafka, topic) == EVENTS


@pytest.mark.parametrize("confirm", [True, False])
def test_amqp_acks_what_the_queue_holds(feeding: Feeding, rabbitmq: Server, confirm: bool) -> None:
    headers = {"id": "$producer-$sequence", "lang": "py"}
    table = {
        "kind": "amqp",
        "queue": f"contract-{confirm}",
        "confirm": confirm,
        "properties": {"headers": headers, "priority": 3},
    }
    journals = feeding.feed(table, {"rabbitmq.url": rabbitmq.url})
    assert statuses(journals) == Counter(acked=EVENTS, refused=0, unknown=0)
    sent = sorted(journals.intents[["producer", "sequence"]].tolist())
    held = _emptied(rabbitmq, f"contract-{confirm}")
    found = [json.loads(body) for body, _ in held]
    assert sorted((event["producer"], event["sequence"]) for event in found) == sent
    ids = [properties.headers["id"] for _, properties in held]
    assert ids == [f"{event['producer']}-{event['sequence']}" for event in found]
    assert {(p.delivery_mode, p.priority, p.headers["lang"]) for _, p in held} == {(2, 3, "py")}


def test_what_rabbitmq_returns_or_rejects_had_no_effect(feeding: Feeding, rabbitmq: Server) -> None:
    nowhere = {"kind": "amqp", "exchange": "amq.direct", "routing_key": "nobody-is-bound"}
    journals = feeding.feed(nowhere, {"rabbitmq.url": rabbitmq.url}, events=40)
    assert statuses(journals) == Counter(acked=0, refused=40, unknown=0)


@pytest.mark.parametrize(("nacked", "refused"), [("refused", 10), ("unknown", 0)])
def test_what_a_full_queue_of_rabbitmq_s_rejects_is_what_the_target_says(
    feeding: Feeding, rabbitmq: Server, nacked: str, refused: int
) -> None:
    table = {
        "kind": "amqp",
        "queue": f"contract-full-{nacked}",
        "queue_arguments": {"x-max-length": 30, "x-overflow": "reject-publish"},
        "nacked": nacked,
    }
    journals = feeding.feed(table, {"rabbitmq.url": rabbitmq.url}, events=40)
    assert len(_emptied(rabbitmq, table["queue"])) == statuses(journals)["acked"] == 30
    assert statuses(journals)["refused"] == refused


def test_a_channel_that_rabbitmq_closes_leaves_what_it_did_not_confirm_unknown(
    feeding: Feeding, rabbitmq: Server
) -> None:
    table = {"kind": "amqp", "exchange": "no-such-exchange", "routing_key": "k"}
    journals = feeding.feed(table, {"rabbitmq.url": rabbitmq.url}, events=40)
    assert statuses(journals)["acked"] == 0


def test_a_connection_that_is_cut_in_flight_leaves_no_event_refused_that_arrived(
    feeding: Feeding, rabbitmq: Server
) -> None:
    queue = "contract-cut"
    table = {"kind": "amqp", "queue": queue, "url": "{front}", "timeout_s": 3}
    with cut_after(rabbitmq, 60_000) as front:
        journals = feeding.feed(table, {"front": front})
    found = statuses(journals)
    held = len(_emptied(rabbitmq, queue))
    # Whatever came before and after the cut was confirmed; in between only what was in flight.
    assert found["acked"] >= EVENTS / 2
    assert found["acked"] <= held <= found["acked"] + found["unknown"]


def _redis(server: Server) -> redis_client.Redis:
    return redis_client.Redis.from_url(redis_url(server), decode_responses=True)


def _emptied(server: Server, queue: str) -> list[tuple[bytes, Any]]:
    """Return what a queue holds, and remove it."""
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        held = []
        while (got := channel.basic_get(queue, auto_ack=True))[2] is not None:
            held.append((got[2], got[1]))
        channel.queue_delete(queue)
        return held


@contextmanager
def cut_after(server: Server, most_bytes: int) -> Iterator[str]:
    """Yield the URL of a way to a server that breaks once, after so many bytes to it."""
    upstream = Address.parse(server.address)
    left = [most_bytes]

    def carry(source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                before, left[0] = left[0], left[0] - counted * len(data)
                sink.sendall(data)
                if before > 0 >= left[0]:
                    break
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                front, _ = listener.accept()
                back = socket.create_connection((upstream.host, upstream.port))
                sockets.extend((front, back))
                for pair, counted in (((front, back), True), ((back, front), False)):
                    ways = {"target": carry, "args": pair, "kwargs": {"counted": counted}}
                    threads.append(threading.Thread(**ways))
                    threads[-1].start()

    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        yield server.url.replace(server.address, f"127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()
    for each in sockets:
        each.close()


def _consumed(server: Server, topic: str) -> int:
    consumer = Consumer(
        {
            **kafka_login(server),
            "group.id": topic,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    seen, deadline = 0, time.monotonic() + 20
    while seen < EVENTS and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        seen += message is not None and message.error() is None
    consumer.close()
    return seen

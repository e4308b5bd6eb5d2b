"""Every look at a queue, at a server that freezes, or is killed: nothing, and never 0."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pika
import psycopg
import pytest
import redis as redis_client

from lossmeter.errors import UsageError
from lossmeter.plugins import names_in
from lossmeter.world import queues
from lossmeter.world.queues import PendingIds, QueueLength, queue_options
from lossmeter.world.waiting import wait_for
from tests.support.kafka_queue import kafka_queue
from tests.support.places import Place
from tests.support.servers import Server, keep_in_redis, redis_url

pytestmark = pytest.mark.everywhere

MANY, WITHIN_S, BACK_WITHIN_S = 4, 20.0, 60.0
# Erlang's disk_log holds what is written for up to 2 s. RabbitMQ has it written when a queue is
# declared, but seldom not: killed right after, it had forgotten 1 durable queue in 10.
DECLARED_S = 2.5
NUMBERS = count(1)
HELD = [json.dumps({"producer": 0, "sequence": n}) for n in range(MANY)]


@dataclass(frozen=True, slots=True)
class Look:
    """How a queue of some events is made, and reached.

    Attributes:
        server: its name.
        filled: makes it, and returns what ``[queue]`` says.
        reach: what is interpolated.
    """

    server: str
    filled: Callable[[Server, str], dict[str, Any]]
    reach: Callable[[Server], dict[str, str]]


def _redis(server: Server, name: str) -> dict[str, Any]:
    with redis_client.Redis.from_url(redis_url(server)) as client:
        client.rpush(name, *HELD)
        keep_in_redis(client)
    return {"kind": "redis", "keys": [name], "pending": {}}


def _sql(server: Server, name: str) -> dict[str, Any]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            f'create table "{name}" as select 0::bigint as producer, n::bigint as sequence, '
            f"false as owned from generate_series(0, {MANY - 1}) n"
        )
    counted = f'select count(*) from "{name}"'
    return {"kind": "sql", "query": counted, "pending": {"query": f'select * from "{name}"'}}


def _kafka(server: Server, name: str) -> dict[str, Any]:
    queue = kafka_queue(server, name, f"{name}-readers")
    queue.write(*((0, text) for text in HELD))
    return {**queue.table, "pending": {}}


def _amqp(server: Server, name: str) -> dict[str, Any]:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True)
        channel.confirm_delivery()
        for text in HELD:
            kept = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish("", name, text.encode(), kept)
    time.sleep(DECLARED_S)
    return {"kind": "amqp", "queues": [name], "pending": {}}


LOOKS = {
    "redis": Look("redis", _redis, lambda server: {"redis.url": redis_url(server)}),
    "sql": Look("postgres", _sql, lambda server: {"postgres.url": server.url}),
    "kafka": Look("kafka", _kafka, lambda server: {"kafka.address": server.address}),
    "amqp": Look(
        "rabbitmq",
        _amqp,
        lambda server: {"rabbitmq.url": server.url, "rabbitmq.management": server.management},
    ),
}


def test_every_look_with_a_server_is_struck() -> None:
    assert LOOKS.keys() == set(names_in(queues)) - {"http"}


def opened(look: Look, server: Server) -> tuple[QueueLength, PendingIds]:
    table, values = look.filled(server, f"looked-at-{next(NUMBERS)}"), look.reach(server)

    def interpolate(text: str) -> str:
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    options = queue_options("t", table)
    ids = options.ids(interpolate)
    assert ids is not None
    return options.open(interpolate), ids


def told(length: QueueLength, ids: PendingIds) -> tuple[int | None, int | None]:
    held = ids()
    return length(), None if held is None else len(held)


@contextmanager
def killed(place: Place, server: str) -> Any:
    place.kill(server)
    try:
        yield
    finally:
        place.start_again(server)


def frozen(place: Place, server: str) -> AbstractContextManager[None]:
    return place.frozen(server)


@pytest.mark.parametrize("strike", [frozen, killed])
@pytest.mark.parametrize("kind", LOOKS)
def test_a_server_that_is_struck_says_nothing_and_then_the_same_again(
    place: Place, kind: str, strike: Callable[[Place, str], AbstractContextManager[None]]
) -> None:
    look = LOOKS[kind]
    length, ids = opened(look, place(look.server))
    with closing(length), closing(ids):
        struck(place, look.server, strike, length, ids)


def struck(
    place: Place,
    server: str,
    strike: Callable[[Place, str], AbstractContextManager[None]],
    length: QueueLength,
    ids: PendingIds,
) -> None:
    assert wait_for(lambda: told(length, ids) == (MANY, MANY), WITHIN_S)
    with strike(place, server):
        begin = time.monotonic()
        assert told(length, ids) == (None, None)
        assert told(length, ids) == (None, None)
        # A frozen RabbitMQ is told by missed heartbeats, and pika looks for those every 7 s.
        assert time.monotonic() - begin < 2 * WITHIN_S
    seen: set[tuple[int | None, int | None]] = set()
    refused: set[str] = set()

    def back() -> bool:
        try:
            seen.add(told(length, ids))
        except UsageError as error:
            # A broker that has just begun may not know its queues yet.
            refused.add(str(error))
            return False
        return (MANY, MANY) in seen

    assert wait_for(back, BACK_WITHIN_S), (seen, refused)
    assert {each for pair in seen for each in pair} <= {None, MANY}, "never another number"

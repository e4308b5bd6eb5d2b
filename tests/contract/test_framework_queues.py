"""Which events Celery, RQ and the like still hold, read from their own queues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis as redis_client
from celery import Celery
from dramatiq.brokers.redis import RedisBroker
from rq import Queue, SimpleWorker

from lossmeter.plan.target import load_target
from lossmeter.world.queues import PendingIds, queue_options
from lossmeter.world.queues._held import HeldByBroker
from tests.support.servers import Server, redis_url

FRAMEWORKS = Path(__file__).resolve().parents[2] / "targets" / "frameworks"


def shipped(name: str) -> dict[str, Any]:
    """Return how a shipped target reads what its broker still holds."""
    queue = load_target(FRAMEWORKS / name / f"{name}.toml").queue
    assert queue is not None
    return dict(queue["pending"])


# Of RQ and BullMQ where the framework itself names the jobs, and not the target's ids.
TABLES: dict[str, dict[str, Any]] = {
    "celery": shipped("celery-redis"),
    "dramatiq": shipped("dramatiq-redis"),
    "rq": {
        "keys": ["rq:queue:default", "rq:queue:default:intermediate", "rq:wip:default"],
        "job_key": "rq:job:*",
        "job_name": "[^:]+",
        "encoding": ["zlib", "pickle"],
        "pattern": r'"jobs.notify", "?(?P<producer>\d+)"?, "?(?P<sequence>\d+)',
    },
    "bullmq": {"keys": ["bull:events:wait", "bull:events:active"], "job_key": "bull:events:*"},
}


@pytest.fixture
def client(redis: Server) -> Iterator[redis_client.Redis]:
    with redis_client.Redis.from_url(redis_url(redis)) as client:
        client.flushdb()
        yield client
        client.flushdb()


def opened(framework: str, redis: Server) -> PendingIds:
    """Return what reads the framework's queue."""
    pending = TABLES[framework]
    table = {"kind": "redis", "keys": pending["keys"], "pending": pending}
    ids = queue_options(framework, table).ids(lambda t: t.replace("{redis.url}", redis_url(redis)))
    assert ids is not None
    return ids


def read(ids: PendingIds) -> list[tuple[int, int]]:
    held = ids()
    assert held is not None
    return sorted((int(e["producer"]), int(e["sequence"])) for e in held)


@pytest.mark.usefixtures("client")
def test_celery_holds_what_waits_and_what_was_taken_and_not_acked(redis: Server) -> None:
    ids = opened("celery", redis)
    app = Celery("tasks", broker=redis_url(redis))
    assert read(ids) == []
    for sequence in range(3):
        app.send_task("tasks.notify", (5, sequence, "x"))
    assert read(ids) == [(5, 0), (5, 1), (5, 2)]
    with app.connection() as connection:
        taken = connection.default_channel.basic_get("celery")
        assert taken is not None
        assert read(ids) == [(5, 0), (5, 1), (5, 2)], "one of them is in the hash unacked"
        held = HeldByBroker(ids, 0.2)
        left = held.look()
        assert left is not None
        assert (len(left.pending), len(left.stranded)) == (3, 0)
        time.sleep(0.6)
        left = held.look()
        assert left is not None
        assert (len(left.pending), len(left.stranded)) == (0, 3), "nobody took them for too long"
        taken.ack()
        assert len(read(ids)) == 2
    ids.close()


@pytest.mark.usefixtures("client")
def test_dramatiq_holds_what_waits_and_what_waits_for_another_try(redis: Server) -> None:
    ids = opened("dramatiq", redis)
    broker = RedisBroker(url=redis_url(redis))

    @dramatiq.actor(broker=broker)
    def notify(producer: int, sequence: int, payload: str) -> None:
        raise AssertionError((producer, sequence, payload))

    notify.send(5, 0, "x")
    # So its middleware has a message tried again that failed.
    notify.send_with_options(args=(5, 1, "x"), delay=60_000)
    assert read(ids) == [(5, 0), (5, 1)]
    consumer = broker.consume("default")
    taken = next(consumer)
    assert taken is not None
    assert read(ids) == [(5, 0), (5, 1)], "one of them is in hand"
    consumer.nack(taken)
    assert read(ids) == [(5, 0), (5, 1)], "and is a dead letter now"
    consumer.close()
    broker.close()
    ids.close()


def test_rq_holds_what_waits_and_what_a_worker_has_begun(
    client: redis_client.Redis, redis: Server
) -> None:
    ids = opened("rq", redis)
    queue = Queue(connection=client)
    assert read(ids) == []
    for sequence in range(3):
        queue.enqueue("jobs.notify", 5, sequence, "x")
    # Ids as texts, and one that the pickle writes once and refers to.
    queue.enqueue("jobs.notify", "7", "7", "7")
    assert read(ids) == [(5, 0), (5, 1), (5, 2), (7, 7)]
    worker = SimpleWorker([queue], connection=client)
    found = worker.dequeue_job_and_maintain_ttl(1)
    assert found is not None
    assert set(read(ids)) == {(5, 0), (5, 1), (5, 2), (7, 7)}, "between list and registry"
    worker.prepare_execution(found[0])
    assert set(read(ids)) == {(5, 0), (5, 1), (5, 2), (7, 7)}, "in the registry of what was begun"
    for name in client.keys("rq:job:*"):
        client.delete(name)
    assert read(ids) == [], "what has no job any more nobody holds"
    ids.close()


def test_bullmq_holds_what_waits_and_what_is_active(
    client: redis_client.Redis, redis: Server
) -> None:
    """Its keys as its documentation has them; the framework itself is run in another test."""
    ids = opened("bullmq", redis)
    client.rpush("bull:events:wait", "2", "1")
    client.rpush("bull:events:active", "0")
    for number in range(3):
        data = f'{{"producer":5,"sequence":{number},"payload":"x"}}'
        client.hset(f"bull:events:{number}", mapping={"name": "notify", "data": data})
    assert read(ids) == [(5, 0), (5, 1), (5, 2)]
    ids.close()

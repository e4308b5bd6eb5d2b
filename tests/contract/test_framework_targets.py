"""What the shipped targets read of their frameworks' brokers, put there by the frameworks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import redis as redis_client

from lossmeter.plan.queued import PENDING
from lossmeter.plan.target import Target, load_target
from lossmeter.world.install.environments import bring
from lossmeter.world.queues import queue_options
from lossmeter.world.queues._held import HeldByBroker
from tests.support.feeding import Feeding, statuses
from tests.support.servers import Server, redis_url

FRAMEWORKS = Path(__file__).resolve().parents[2] / "targets" / "frameworks"
FILES = {each.stem: each for each in FRAMEWORKS.glob("*/*.toml") if each.stem != "promises"}
EVENTS = 40
ON_REDIS = (
    *("celery-redis", "celery-redis-safe", "rq", "rq-maintained", "dramatiq-redis", "huey"),
    *("arq", "saq", "saq-sweeping", "taskiq-list", "taskiq-stream", "taskiq-stream-claiming"),
)


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_broker_is_asked_which_events_it_still_holds(name: str) -> None:
    target = load_target(FILES[name])
    if target.queue is None:
        # Its queue is in its own memory, and goes with it.
        assert set(target.services) == {"postgres"}
    else:
        assert PENDING in target.queue


@pytest.fixture
def redis_at(redis: Server) -> Iterator[dict[str, str]]:
    url = redis_url(redis)
    with redis_client.Redis.from_url(url) as client:
        client.flushdb()
        yield {"redis.url": url}
        client.flushdb()


@pytest.fixture
def rabbitmq_at(rabbitmq: Server) -> Iterator[dict[str, str]]:
    yield {"rabbitmq.url": rabbitmq.url, "rabbitmq.management": rabbitmq.management}
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        for queue in ("celery", "default", "default.DQ", "default.XQ"):
            connection.channel().queue_delete(queue)


def held_of(target: Target, feeding: Feeding, addresses: dict[str, str]) -> None:
    """Feed a target that has no worker; each acked event must be found in its broker."""

    def interpolate(text: str) -> str:
        for name, value in addresses.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    assert target.queue is not None
    assert target.ingress is not None
    table = {name: value for name, value in target.queue.items() if name != "redelivered_after_s"}
    options = queue_options(target.name, table)
    ids, length = options.ids(interpolate), options.open(interpolate)
    assert ids is not None
    held = HeldByBroker(ids, 300)
    held.check_empty()
    # Python leaves its caches beside what it imports.
    folder = Path(shutil.copytree(FILES[target.name].parent, feeding.folder / "application"))
    # A framework takes its time until it has loaded.
    table = {**target.ingress, "timeout_s": 15}
    journals = feeding.feed(table, bring(target) | addresses, events=EVENTS, folder=folder)
    assert statuses(journals)["acked"] == EVENTS
    sent = sorted(journals.intents[["producer", "sequence"]].tolist())
    left = held.collect()
    assert sorted(left.pending.tolist()) == sent
    assert length() == EVENTS
    held.close()
    length.close()


@pytest.mark.parametrize("name", ON_REDIS)
def test_what_waits_in_redis_is_found_by_its_id(
    feeding: Feeding, redis_at: dict[str, str], name: str
) -> None:
    held_of(load_target(FILES[name]), feeding, redis_at)


@pytest.mark.parametrize("name", ["celery-rabbitmq", "celery-rabbitmq-safe", "dramatiq-rabbitmq"])
def test_what_waits_in_rabbitmq_is_found_by_its_id(
    feeding: Feeding, rabbitmq_at: dict[str, str], name: str
) -> None:
    held_of(load_target(FILES[name]), feeding, rabbitmq_at)

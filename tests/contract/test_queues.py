"""One contract for every queue backend, on real servers.

A crash is a queue object that is dropped without ``close``: whatever it held, its successor
must see what the backend promises.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer
from redis.asyncio import Redis

from lossmeter_dispatcher import queues
from lossmeter_dispatcher.config import ConfigurationError, QueueSettings
from lossmeter_dispatcher.events import Accepted, Event
from lossmeter_dispatcher.queues.kafka import KafkaQueue
from lossmeter_dispatcher.queues.protocol import Delivery, Queue, QueueFullError
from tests.support.servers import Server

CAPACITY, WORKERS = 20, 3
WITHIN_S = 15.0

DURABLE = {"redis", "redis-list", "kafka"}
REDELIVERS = {"redis", "kafka"}

Opens = Callable[[], Awaitable[Queue]]
Test = Callable[[Opens], Coroutine[Any, Any, None]]


@pytest.fixture(params=queues.backends())
def backend(request: pytest.FixtureRequest) -> QueueSettings:
    """Settings of one backend with a name of its own, so that tests share no events."""
    kind = request.param
    if kind == "channel":
        return QueueSettings(type=kind, capacity=CAPACITY, name=_name())
    return _settings(kind, request.getfixturevalue("kafka" if kind == "kafka" else "redis"))


def _name() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def _settings(kind: str, server: Server) -> QueueSettings:
    name = _name()
    return QueueSettings(
        type=kind,
        capacity=CAPACITY,
        address=server.address,
        username=server.username,
        password=server.password,
        name=name,
        session_timeout_s=6,
        partitions=1,
        instance_id=f"i-{name}",
    )


@asynccontextmanager
async def _opened(settings: QueueSettings) -> AsyncIterator[Opens]:
    """Offer to open queues on one backend; close all of them at the end."""
    opened: list[Queue] = []

    async def open_one() -> Queue:
        queue = queues.build(settings, WORKERS)
        await queue.open()
        opened.append(queue)
        await _until(queue, lambda length: length is not None)
        return queue

    try:
        yield open_one
    finally:
        for queue in opened:
            await queue.close()


def _run(settings: QueueSettings, test: Test) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), _opened(settings) as open_one:
            await test(open_one)

    asyncio.run(main())


def _item(sequence: int) -> Accepted:
    event = Event(producer=1, sequence=sequence, key="k", payload=f"päyload {sequence}")
    return Accepted(event, time.time())


async def _put(queue: Queue, *sequences: int) -> None:
    for sequence in sequences:
        await queue.put(_item(sequence), 5)


async def _take(queue: Queue) -> Delivery:
    return await asyncio.wait_for(queue.take(), WITHIN_S)


async def _drain(queue: Queue, count: int) -> list[int]:
    taken = []
    for _ in range(count):
        delivery = await _take(queue)
        taken.append(delivery.item.event.sequence)
        await queue.ack(delivery)
    return taken


async def _until(queue: Queue, wanted: Callable[[int | None], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not wanted(await queue.length()):  # noqa: ASYNC110 - a broker tells only if asked
            await asyncio.sleep(0.02)


def test_events_come_out_as_they_went_in(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _put(queue, *range(10))
        first = await _take(queue)
        assert first.item.event == _item(0).event
        assert abs(first.item.accepted_at - time.time()) < 60
        await queue.ack(first)
        assert await _drain(queue, 9) == list(range(1, 10))

    _run(backend, test)


def test_length_counts_what_waits_and_not_what_is_in_hand(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        assert await queue.length() == 0
        await _put(queue, *range(10))
        taken = [await _take(queue) for _ in range(2)]
        # A backend may fetch for its idle workers ahead of them, never more.
        await _until(queue, lambda n: n is not None and 10 - WORKERS <= n <= 8)
        for delivery in taken:
            await queue.ack(delivery)
        await _drain(queue, 8)
        await _until(queue, lambda n: n == 0)

    _run(backend, test)


def test_a_full_queue_refuses_after_the_time_out_and_took_nothing(
    backend: QueueSettings,
) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _fill(queue)
        begin = time.monotonic()
        with pytest.raises(QueueFullError):
            await queue.put(_item(999), 0.3)
        assert 0.25 <= time.monotonic() - begin < 2
        with pytest.raises(QueueFullError):
            await queue.put(_item(998), 0)
        taken = await _drain(queue, 1)
        while await queue.length():
            taken += await _drain(queue, 1)
        assert not {998, 999} & set(taken)

    _run(backend, test)


async def _fill(queue: Queue) -> None:
    """Put until the queue is full; a backend may hold some more in its hands."""
    sequence = 0
    with contextlib.suppress(QueueFullError):
        while sequence <= CAPACITY + WORKERS:
            await queue.put(_item(sequence), 0.3)
            sequence += 1
    assert CAPACITY <= sequence <= CAPACITY + WORKERS
    assert await queue.length() == CAPACITY


def test_a_push_that_waits_gets_the_room_that_comes(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _fill(queue)
        waiting = asyncio.create_task(queue.put(_item(777), 10))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await _drain(queue, 1 + WORKERS)
        assert await asyncio.wait_for(waiting, 5) is True, "it had to wait"

    _run(backend, test)


def test_pushes_that_wait_can_be_refused_at_once_and_took_nothing(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _fill(queue)
        waiting = [asyncio.create_task(queue.put(_item(700 + n), 10)) for n in range(5)]
        await asyncio.sleep(0.2)
        queue.refuse_waiting()
        async with asyncio.timeout(2):
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in ended] == [QueueFullError] * 5
        assert await queue.length() == CAPACITY

    _run(backend, test)


def test_a_push_that_finds_room_says_that_it_did_not_wait(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        assert await queue.put(_item(0), 5) is False

    _run(backend, test)


def test_many_producers_at_once_never_exceed_the_capacity(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        puts = [queue.put(_item(n), 0.5) for n in range(3 * CAPACITY)]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        accepted = {n for n, outcome in enumerate(outcomes) if isinstance(outcome, bool)}
        refused = [outcome for outcome in outcomes if not isinstance(outcome, bool)]
        assert all(isinstance(outcome, QueueFullError) for outcome in refused)
        assert CAPACITY <= len(accepted) <= CAPACITY + WORKERS
        assert set(await _drain(queue, len(accepted))) == accepted

    _run(backend, test)


def test_taking_waits_for_an_event(backend: QueueSettings) -> None:
    async def test(open_one: Opens) -> None:
        queue = await open_one()
        waiting = asyncio.create_task(queue.take())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await _put(queue, 5)
        delivery = await asyncio.wait_for(waiting, WITHIN_S)
        assert delivery.item.event.sequence == 5
        await queue.ack(delivery)

    _run(backend, test)


def test_what_a_crash_leaves(backend: QueueSettings) -> None:
    """Acked is gone; queued survives in a broker; in hand survives where it is redelivered."""

    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _put(queue, *range(8))
        assert await _drain(queue, 2) == [0, 1]
        await _acked(queue)
        assert [(await _take(queue)).item.event.sequence for _ in range(2)] == [2, 3]
        await _crash(queue)
        successor = await open_one()
        left = await successor.length()
        assert left is not None
        expected = {"channel": [], "redis-list": [4, 5, 6, 7]}.get(backend.type, [2, 3, 4, 5, 6, 7])
        # A backend may have fetched for its idle workers already.
        assert len(expected) - WORKERS <= left <= len(expected)
        assert await _drain(successor, len(expected)) == expected
        await _until(successor, lambda n: n == 0)

    _run(backend, test)


async def _acked(queue: Queue) -> None:
    """Give a backend that acknowledges in the background the time to do it."""
    del queue
    await asyncio.sleep(0.5)


async def _crash(queue: Queue) -> None:
    """Stop the object's own threads without a word to the broker, as SIGKILL would."""
    if isinstance(queue, KafkaQueue):
        queue._over.set()
        for thread in queue._threads:
            await asyncio.to_thread(thread.join, WITHIN_S)
        assert queue._threads
        assert not any(thread.is_alive() for thread in queue._threads)


@pytest.mark.parametrize("kind", ["redis", "redis-list"])
def test_a_redis_that_lost_its_data_is_used_again(kind: str, redis: Server) -> None:
    settings = _settings(kind, redis)

    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _put(queue, 0, 1)
        held = await _take(queue)
        host, _, port = settings.address.rpartition(":")
        client = Redis(
            host=host, port=int(port), username=settings.username, password=settings.password
        )
        await client.delete(settings.name)
        await client.aclose()
        await _until(queue, lambda length: length == 0)
        await _put(queue, 2)
        assert await _drain(queue, 1) == [2]
        await queue.ack(held)
        assert await queue.length() == 0

    _run(settings, test)


def test_a_kafka_consumer_that_is_fenced_off_joins_again(kafka: Server) -> None:
    settings = _settings("kafka", kafka)

    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _put(queue, 0)
        assert await _drain(queue, 1) == [0]
        await _fence_off(settings)
        await _until(queue, lambda length: length is None)
        await _until(queue, lambda length: length is not None)
        await _put(queue, 1, 2, 3)
        # The commit of the first may have been fenced off too: then it comes a second time.
        came = await _drain(queue, 1)
        came += await _drain(queue, 3 if came == [0] else 2)
        assert came[-3:] == [1, 2, 3]
        await _until(queue, lambda length: length == 0)

    _run(settings, test)


def test_a_kafka_consumer_that_is_fenced_off_with_all_hands_full_joins_again(
    kafka: Server,
) -> None:
    settings = _settings("kafka", kafka)

    async def test(open_one: Opens) -> None:
        queue = await open_one()
        await _put(queue, *range(WORKERS + 1))
        taken = [await queue.take() for _ in range(WORKERS)]
        await _fence_off(settings)
        for delivery in taken:
            await queue.ack(delivery)
        # None of these acks was committed: each event comes again, once and in order.
        assert await _drain(queue, WORKERS + 1) == list(range(WORKERS + 1))
        await _until(queue, lambda length: length == 0)

    _run(settings, test)


async def _fence_off(settings: QueueSettings) -> None:
    """Take the place of a member of the group, and give it up again."""
    intruder = Consumer(
        {
            "bootstrap.servers": settings.address,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": settings.username,
            "sasl.password": settings.password,
            "group.id": f"{settings.name}-workers",
            "group.instance.id": settings.instance_id,
        }
    )
    intruder.subscribe([settings.name])
    async with asyncio.timeout(WITHIN_S):
        while not intruder.assignment():
            await asyncio.to_thread(intruder.poll, 0.1)
    await asyncio.to_thread(intruder.close)


def test_backends_say_what_survives(backend: QueueSettings) -> None:
    queue = queues.build(backend, WORKERS)
    assert queue.survives_process == (backend.type in DURABLE)
    assert queue.capacity == CAPACITY


def test_an_unknown_backend_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="known are channel, kafka, redis, redis-list"):
        queues.build(QueueSettings(type="rabbit"), 1)


@pytest.mark.parametrize("kind", ["redis", "redis-list", "kafka"])
def test_a_broker_that_is_not_there_is_an_error_not_a_hang(kind: str) -> None:
    settings = QueueSettings(type=kind, capacity=1, address="127.0.0.1:1")

    async def main() -> None:
        with pytest.raises(OSError, match="does not answer"):
            await queues.build(settings, 1).open()

    asyncio.run(main())

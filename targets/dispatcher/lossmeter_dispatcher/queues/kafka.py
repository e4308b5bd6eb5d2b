"""Kafka: a yes after all in-sync replicas have it, the offset committed after the insert.

Kafka keeps one offset per partition, so an event is committed only with all before it. At
most ``workers`` events are delivered and not yet committed at any time: that bounds what a
crash delivers twice.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from lossmeter_dispatcher.config import QueueSettings
from lossmeter_dispatcher.events import Accepted
from lossmeter_dispatcher.queues._kafka_broker import (
    ANSWER_S,
    ROOM_POLL_S,
    client,
    membership,
    prepare,
)
from lossmeter_dispatcher.queues.protocol import Delivery, QueueFullError, QueueUnsureError

LOG = logging.getLogger(__name__)

DELIVERY_S = 10.0
POLL_S = 0.1
REPORT_POLL_S = 0.001
REJOIN_S = 1.0

# Messages consumed at once; more would hold up the loop that shares the interpreter.
TOGETHER = 200

# The code by which a client tells of an error that was fatal to it before.
_ENDED = KafkaError._FATAL  # noqa: SLF001 - it has no public name


@dataclass(slots=True)
class _Partition:
    """What this process knows of one partition that it is assigned.

    Attributes:
        end: the offset that the next event will get.
        position: the offset that is taken into hands next.
        hands: offsets delivered and not yet committed, oldest first, and which are done.
    """

    end: int
    position: int
    hands: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)

    def finished(self) -> int:
        """Drop the done offsets at the front and return how many they are."""
        count = 0
        while self.hands and self.hands[0] in self.done:
            self.done.discard(self.hands.popleft())
            count += 1
        return count


class KafkaQueue:
    """One topic, one consumer group; client calls that block run on threads of their own."""

    survives_process = True

    def __init__(self, settings: QueueSettings, workers: int) -> None:
        self.capacity = settings.bound
        self._settings = settings
        self._group = f"{settings.name}-workers"
        self._free = threading.Semaphore(workers)
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}
        self._producing = 0
        self._over = threading.Event()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._turn = asyncio.Lock()
        self._refusing = False
        self._to_commit = asyncio.Event()
        self._reports_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Make the topic and start to produce and consume."""
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        await asyncio.to_thread(prepare, self._settings, self._group)
        self._producer = Producer(
            client(self._settings)
            | {
                # Only with all acknowledgements can the broker tell a repetition.
                "enable.idempotence": self._settings.acks == "all",
                "acks": self._settings.acks,
                "linger.ms": 1,
                "delivery.timeout.ms": int(DELIVERY_S * 1000),
            }
        )
        self._consumer = self._join()
        thread = threading.Thread(target=self._poll_consumer, daemon=True, name="consumer")
        thread.start()
        self._threads.append(thread)
        self._tasks += [
            asyncio.create_task(self._commit()),
            asyncio.create_task(self._poll_producer()),
        ]

    async def put(self, item: Accepted, timeout_s: float) -> bool:
        """Produce an event and wait for the delivery report."""
        waited = await self._room(timeout_s)
        reported: asyncio.Future[None] = self._loop.create_future()
        self._producing += 1
        self._reports_due.set()
        try:
            self._producer.produce(
                self._settings.name,
                item.to_bytes(),
                key=item.event.key.encode(),
                on_delivery=lambda error, message: self._report(reported, error, message),
            )
        except BufferError:
            self._producing -= 1
            raise QueueFullError from None
        except KafkaException as error:
            self._producing -= 1
            raise QueueUnsureError(str(error)) from None
        # The event may go out whatever becomes of this task; its report is passed on then too.
        await reported
        return waited

    def refuse_waiting(self) -> None:
        """Let no one wait for room; what was produced goes by its report."""
        self._refusing = True

    async def take(self) -> Delivery:
        """Take the next event that was consumed."""
        return await self._inbox.get()

    async def ack(self, delivery: Delivery) -> None:
        """Mark an offset as done; it is committed with all before it."""
        partition, offset = self._receipt(delivery)
        with self._lock:
            known = self._partitions.get(partition)
            if known is not None:
                known.done.add(offset)
        self._to_commit.set()

    async def length(self) -> int | None:
        """Return the events behind the position; None without an assignment."""
        return self._waiting()

    async def close(self) -> None:
        """Stop the threads and leave the group."""
        self._over.set()
        for task in self._tasks:
            task.cancel()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, ANSWER_S)
        await asyncio.to_thread(self._consumer.close)

    # Producing.

    async def _room(self, timeout_s: float) -> bool:
        """Wait for room, in the order of arrival, and return whether that was needed."""
        if not self._turn.locked() and self._has_room():
            return False
        deadline = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                async with self._turn:
                    while not self._has_room():
                        if self._refusing or time.monotonic() >= deadline:
                            raise QueueFullError
                        await asyncio.sleep(ROOM_POLL_S)
        except TimeoutError:
            raise QueueFullError from None
        return True

    def _has_room(self) -> bool:
        waiting = self._waiting()
        return waiting is not None and waiting + self._producing < self.capacity

    def _waiting(self) -> int | None:
        with self._lock:
            if not self._partitions:
                return None
            return sum(max(0, p.end - p.position) for p in self._partitions.values())

    def _report(
        self, reported: asyncio.Future[None], error: KafkaError | None, message: Message
    ) -> None:
        """Pass a delivery report on; called from within ``poll``."""
        self._producing -= 1
        offset, partition = message.offset(), message.partition()
        if error is None and offset is not None and partition is not None:
            with self._lock:
                known = self._partitions.get(partition)
                if known is not None:
                    known.end = max(known.end, offset + 1)
        if reported.done():
            return
        if error is None:
            reported.set_result(None)
        else:
            reported.set_exception(QueueUnsureError(str(error)))

    async def _poll_producer(self) -> None:
        """Ask for delivery reports while some are due.

        On the loop's own thread: each report on another one would have to wait until a
        busy loop lets go of the interpreter, up to 5 ms for every single event.
        """
        while True:
            await self._reports_due.wait()
            self._reports_due.clear()
            while self._producing:
                self._producer.poll(0)
                await asyncio.sleep(REPORT_POLL_S)

    # Consuming.

    def _join(self) -> Consumer:
        """Return a new member of the group."""
        consumer = Consumer(client(self._settings) | membership(self._settings, self._group))
        consumer.subscribe([self._settings.name], on_assign=self._assigned, on_revoke=self._revoked)
        return consumer

    def _join_again(self) -> None:
        """Replace a consumer that has ended for good.

        A member that was away for longer than its session, since its broker was, may find
        itself fenced off when it joins again by its own id, and never consumes any more.
        """
        LOG.warning("consumer: ended for good, joining the group anew")
        with suppress(KafkaException, RuntimeError):
            self._consumer.close()
        with self._lock:
            left = list(self._partitions)
        self._revoked(self._consumer, [TopicPartition(self._settings.name, n) for n in left])
        # Two processes that were given the same id would take turns; they must not spin.
        time.sleep(REJOIN_S)
        self._consumer = self._join()
        self._ended.clear()

    def _poll_consumer(self) -> None:
        while not self._over.is_set():
            if self._ended.is_set():
                self._join_again()
            free = self._seize()
            messages = self._next_messages(free) if free else []
            for _ in range(free - self._hand_out(messages)):
                self._free.release()

    def _seize(self) -> int:
        """Take all the places that are free in the workers' hands; wait for the first."""
        if not self._free.acquire(timeout=POLL_S):
            return 0
        seized = 1
        while seized < TOGETHER and self._free.acquire(blocking=False):
            seized += 1
        return seized

    def _next_messages(self, most: int) -> list[Message]:
        """Return what is there already; wait only for the first message."""
        try:
            first = self._consumer.poll(POLL_S)
            rest = self._consumer.consume(most - 1, timeout=0) if first and most > 1 else []
        except (KafkaException, RuntimeError) as error:
            LOG.warning("consumer: %s", error)
            time.sleep(POLL_S)
            return []
        messages = [first, *rest] if first else []
        answered = [problem for message in messages if (problem := message.error())]
        for problem in answered:
            LOG.warning("consumer: %s", problem)
        if any(_for_good(problem) for problem in answered):
            self._ended.set()
            # What was consumed beside it is delivered again.
            return []
        return [message for message in messages if not message.error()]

    def _hand_out(self, messages: list[Message]) -> int:
        """Give messages to the workers and return how many were given."""
        deliveries = []
        with self._lock:
            for message in messages:
                partition, offset, value = message.partition(), message.offset(), message.value()
                if partition is None or offset is None or value is None:
                    continue
                known = self._partitions.get(partition)
                if known is None:
                    continue
                known.hands.append(offset)
                known.position = offset + 1
                known.end = max(known.end, offset + 1)
                item = Accepted.from_bytes(bytes(value))
                deliveries.append(Delivery(item, (partition, offset)))
        if deliveries:
            self._loop.call_soon_threadsafe(self._put_in_inbox, deliveries)
        return len(deliveries)

    def _put_in_inbox(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._inbox.put_nowait(delivery)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = consumer.committed(partitions, timeout=ANSWER_S)
        fresh = {}
        for place in committed:
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            fresh[place.partition] = _Partition(high, place.offset if place.offset >= 0 else low)
        with self._lock:
            self._partitions = fresh

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del consumer
        with self._lock:
            for place in partitions:
                gone = self._partitions.pop(place.partition, None)
                # Their events will be delivered again, to the consumer that gets the partition.
                for _ in gone.hands if gone else ():
                    self._free.release()

    # Committing.

    async def _commit(self) -> None:
        """Commit what is done, as often as the broker confirms."""
        while True:
            await self._to_commit.wait()
            self._to_commit.clear()
            finished, offsets = self._finished()
            while offsets:
                try:
                    await asyncio.to_thread(
                        self._consumer.commit, offsets=offsets, asynchronous=False
                    )
                except (KafkaException, RuntimeError) as error:
                    LOG.warning("commit: %s", error)
                    if isinstance(error, KafkaException) and _for_good(error.args[0]):
                        # While every worker waits for this, nobody polls and hears of it.
                        self._ended.set()
                        break
                    await asyncio.sleep(POLL_S)
                else:
                    break
            for _ in range(finished):
                self._free.release()

    def _finished(self) -> tuple[int, list[TopicPartition]]:
        finished, offsets = 0, []
        with self._lock:
            for number, partition in self._partitions.items():
                count = partition.finished()
                if count:
                    finished += count
                    upto = partition.hands[0] if partition.hands else partition.position
                    offsets.append(TopicPartition(self._settings.name, number, upto))
        return finished, offsets

    def _receipt(self, delivery: Delivery) -> tuple[int, int]:
        receipt = delivery.receipt
        if not (isinstance(receipt, tuple) and len(receipt) == 2):
            raise TypeError(f"{receipt!r} is not a receipt of this queue")
        return receipt


def _for_good(error: KafkaError) -> bool:
    """Return whether a client that says so will never work again."""
    return error.code() == _ENDED or error.fatal()


def build(settings: QueueSettings, workers: int) -> KafkaQueue:
    """Return a queue on one topic."""
    return KafkaQueue(settings, workers)

"""The dispatcher itself: push → bounded queue → workers → handler → insert."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Coroutine
from typing import Any

from lossmeter_dispatcher import dead_letters, queues, stages
from lossmeter_dispatcher.config import Settings, ShutdownMode, WhenFull
from lossmeter_dispatcher.dead_letters import DeadLetterFullError, DeadLetters
from lossmeter_dispatcher.events import Accepted, Event
from lossmeter_dispatcher.intake import IntakeClosedError, RateLimitedError, TokenBucket
from lossmeter_dispatcher.metrics import Metrics
from lossmeter_dispatcher.queues.protocol import Delivery, QueueFullError, QueueUnsureError
from lossmeter_dispatcher.slow import SlowWork
from lossmeter_dispatcher.stages import Stage
from lossmeter_dispatcher.store import DatabaseError, Store

LOG = logging.getLogger(__name__)

_AGAIN_S = 0.2

# Marked on the way of every event.
_ACCEPTED = Stage.ACCEPTED.value
_QUEUED = Stage.QUEUED.value
_TAKEN = Stage.TAKEN.value
_HANDLING = Stage.HANDLING.value
_PERSISTED = Stage.PERSISTED.value
_ACKNOWLEDGED = Stage.ACKNOWLEDGED.value


class Dispatcher:
    """Takes events in, and has workers persist them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.boot_id = uuid.uuid4().hex
        self.started_at_ns = time.time_ns()
        self.queue = queues.build(settings.queue, settings.workers)
        self.metrics = Metrics(self.queue.capacity)
        # What is done aside needs connections too, and must not take those of the workers.
        connections = settings.workers, settings.handler.aside
        self.store = Store(settings.database, *connections, self.boot_id)
        self.slow = SlowWork(settings.handler, self.store.sleep, DatabaseError)
        self.dead_letters = dead_letters.build(settings.dead_letter, self.store)
        survives = self.queue.survives_process
        self.stages = stages.build(settings.stages, self.boot_id, survives=survives)
        self._mark = self.stages.mark
        self.accepting = False
        self.in_flight = 0
        self.waiting_retry = 0
        self._bucket = TokenBucket(settings.push.rate_per_s) if settings.push.rate_per_s else None
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # Life.

    async def start(self) -> None:
        """Begin to connect; intake opens when database and queue are there."""
        self._spawn(self._open())

    async def _open(self) -> None:
        await _until_there("database", self.store.open)
        await _until_there("queue", self.queue.open)
        for _ in range(self.settings.workers):
            self._spawn(self._work())
        if self.settings.dead_letter.replay_every_s:
            self._spawn(self._replay_on_timer())
        self.accepting = not self._closing.is_set()

    async def stop(self) -> None:
        """Close the intake, then sleep or drain as configured; what is left is abandoned."""
        self.accepting = False
        self._closing.set()
        # Who waits for room has had no effect yet, and must not be cut off without an answer.
        self.queue.refuse_waiting()
        self.stages.mark_every(Stage.CLOSING)
        await self._wind_down()
        self.stages.mark_every(Stage.ABANDONED)

    async def _wind_down(self) -> None:
        shutdown = self.settings.shutdown
        if shutdown.mode is ShutdownMode.SLEEP:
            LOG.info("shutting down: %s s of grace", shutdown.sleep_s)
            await asyncio.sleep(shutdown.sleep_s)
            return
        deadline = time.monotonic() + shutdown.limit_s
        while not await self._drained():
            if time.monotonic() >= deadline:
                LOG.warning("shutdown time-out, what is left is abandoned")
                return
            await asyncio.sleep(min(shutdown.poll_s, max(0.0, deadline - time.monotonic())))
        LOG.info("queue is empty, exit")

    async def _drained(self) -> bool:
        """Return whether nothing is left that would die with the process."""
        if self.in_flight or self.waiting_retry or self.slow.under_way:
            return False
        return self.queue.survives_process or await self.queue.length() == 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let an error that nobody handled end the process; a worker less would go unseen."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    def panic(self) -> None:
        """Meet an error that nobody handles, as a defect in a handler would be one."""
        self._spawn(self._meet_a_defect())

    async def _meet_a_defect(self) -> None:
        raise RuntimeError("a defect in a handler, asked for by POST /panic")

    # Intake.

    async def push(self, event: Event) -> None:
        """Take one event in.

        Raises:
            QueueFullError: no room in time; no effect.
            RateLimitedError: too fast; no effect.
            IntakeClosedError: shutting down; no effect.
            QueueUnsureError: the backend did not say.
        """
        item = Accepted(event, time.time())
        self._mark(event, _ACCEPTED)
        try:
            await self._push(item)
        except (QueueFullError, RateLimitedError, IntakeClosedError):
            self.metrics.count("dropped")
            self._mark(event, Stage.REFUSED)
            raise
        self.metrics.count("accepted")

    async def _push(self, item: Accepted) -> None:
        if not self.accepting:
            raise IntakeClosedError
        if self._bucket is not None and (wait_s := self._bucket.take()):
            raise RateLimitedError(wait_s)
        push = self.settings.push
        if push.when_full is WhenFull.BLOCK:
            try:
                await self._put_waiting(item, push.timeout_s)
            except QueueFullError:
                if self._closing.is_set():
                    raise IntakeClosedError from None
                raise
            self._mark(item.event, _QUEUED)
            return
        try:
            await self.queue.put(item, 0)
        except QueueFullError:
            self.metrics.count("without_room")
            if push.when_full is not WhenFull.WRITE_THROUGH:
                raise
            await self._write_through(item)
        else:
            self._mark(item.event, _QUEUED)

    async def _put_waiting(self, item: Accepted, timeout_s: float) -> None:
        """Wait for room, and count who had to."""
        if self.queue.survives_process:
            try:
                waited = await self.queue.put(item, timeout_s)
            except QueueFullError:
                self.metrics.count("without_room")
                raise
            if waited:
                self.metrics.count("without_room")
            return
        with contextlib.suppress(QueueFullError):
            await self.queue.put(item, 0)
            return
        self.metrics.count("without_room")
        await self.queue.put(item, timeout_s)

    async def _write_through(self, item: Accepted) -> None:
        """Handle the event in the producer's own time: degraded, but not refused."""
        self._mark(item.event, _HANDLING)
        try:
            await self._handle(item.event)
        except DatabaseError as error:
            # An insert whose answer was lost may have happened.
            raise QueueUnsureError(str(error)) from error
        self._mark(item.event, _PERSISTED)
        self.metrics.count("persisted")
        self.metrics.latency.observe(time.time() - item.accepted_at)

    # Workers.

    def _leaves_the_rest(self) -> bool:
        """Return whether workers stop taking: what is still queued outlives the process."""
        drains = self.settings.shutdown.mode is ShutdownMode.DRAIN
        return self._closing.is_set() and drains and self.queue.survives_process

    async def _work(self) -> None:
        while not self._leaves_the_rest():
            delivery = await self.queue.take()
            self._mark(delivery.item.event, _TAKEN)
            self.in_flight += 1
            try:
                await self._deal_with(delivery)
            finally:
                self.in_flight -= 1

    async def _deal_with(self, delivery: Delivery) -> None:
        """Handle one event to its end, which is an insert, a dead letter, or the log."""
        if delivery.redelivered:
            self.metrics.count("redelivered")
        retry = self.settings.retry
        reason = await self._attempt(delivery)
        if reason is None:
            return
        if retry.attempts and not retry.blocking:
            self.waiting_retry += 1
            self._spawn(self._retry_aside(delivery, reason))
        else:
            await self._retry(delivery, reason)

    async def _retry_aside(self, delivery: Delivery, reason: str) -> None:
        try:
            await self._retry(delivery, reason)
        finally:
            self.waiting_retry -= 1

    async def _retry(self, delivery: Delivery, reason: str) -> None:
        retry = self.settings.retry
        for attempt in range(retry.attempts):
            self._mark(delivery.item.event, Stage.RETRYING)
            await asyncio.sleep(retry.base**attempt)
            self.metrics.count("retried")
            again = await self._attempt(delivery)
            if again is None:
                return
            reason = again
        await self._give_up(delivery, reason)

    async def _attempt(self, delivery: Delivery) -> str | None:
        """Handle once; return None when it is persisted, else the reason."""
        event = delivery.item.event
        self._mark(event, _HANDLING)
        try:
            await self._handle(event)
        except DatabaseError as error:
            self.metrics.count("failed")
            return " ".join(str(error).split()) or type(error).__name__
        self._mark(event, _PERSISTED)
        self.metrics.count("persisted")
        self.metrics.latency.observe(time.time() - delivery.item.accepted_at)
        await self.queue.ack(delivery)
        self._mark(event, _ACKNOWLEDGED)
        return None

    async def _handle(self, event: Event) -> None:
        aside = self.slow.is_aside
        if not aside:
            await self.slow.do(event.key)
        await asyncio.sleep(self.settings.handler.time_s)
        await self.store.insert(event)
        if aside:
            await self.slow.begin(event.key)

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        """Log, keep as a dead letter where there is such a queue, and forget."""
        event = delivery.item.event
        reported = f"event {event.producer}-{event.sequence} failed: {reason}"
        if self.dead_letters is None:
            self._mark(event, Stage.DROPPED)
            LOG.error("%s", reported)
        else:
            try:
                await self.dead_letters.add(delivery.item, reason)
            except DeadLetterFullError:
                self._mark(event, Stage.OVERFLOWED)
                self.metrics.count("dropped")
                LOG.error("%s; dead letter queue is full, event lost", reported)  # noqa: TRY400
            except DatabaseError as error:
                self._mark(event, Stage.UNLETTERED)
                self.metrics.count("dropped")
                LOG.error("%s; dead letter queue is away, event lost: %s", reported, error)  # noqa: TRY400
            else:
                self._mark(event, Stage.DEAD_LETTERED)
                self.metrics.count("dead_lettered")
                LOG.warning("%s; sent to the dead letter queue", reported)
        await self.queue.ack(delivery)

    # Dead letters.

    async def replay(self) -> int:
        """Put all dead letters back into the queue and return how many went.

        Raises:
            psycopg.Error, PoolTimeout, OSError: the place of the dead letters is away.
        """
        if self.dead_letters is None:
            return 0
        async with self.dead_letters.alone() as alone:
            return await self._replay(self.dead_letters) if alone else 0

    async def _replay(self, letters: DeadLetters) -> int:
        replayed = 0
        # Only those there are now: one that fails again must not go round for ever.
        for _ in range(await letters.count()):
            letter = await letters.oldest()
            # At the end of the process a dead letter is safer than an event in the queue.
            if letter is None or self._closing.is_set():
                break
            # Marked first: a worker may have taken it before the put returns.
            self._mark(letter.item.event, Stage.REQUEUED)
            try:
                await self.queue.put(letter.item, self.settings.push.timeout_s)
            except (QueueFullError, QueueUnsureError):
                self._mark(letter.item.event, Stage.DEAD_LETTERED)
                break
            # Removed only now: a crash in between repeats the event and does not lose it.
            await letters.remove(letter)
            self.metrics.count("replayed")
            replayed += 1
        return replayed

    async def _replay_on_timer(self) -> None:
        while True:
            await asyncio.sleep(self.settings.dead_letter.replay_every_s)
            try:
                await self.replay()
            except DatabaseError as error:
                LOG.warning("replay failed: %s", error)

    # What it tells of itself.

    async def unready(self) -> str | None:
        """Return why events cannot be taken, or None."""
        if self._closing.is_set():
            return "shutting down"
        if not self.accepting:
            return "database or queue is not connected yet"
        if await self.queue.length() is None:
            return f"queue {self.settings.queue.type} is not ready"
        if not await self.store.answers():
            return "database does not answer"
        return None

    async def dead_letter_count(self) -> int | None:
        """Return how many dead letters are kept; None while their place is away."""
        if self.dead_letters is None:
            return 0
        try:
            return await self.dead_letters.count()
        except DatabaseError:
            return None


async def _until_there(name: str, connect: Any) -> None:
    """Try to connect until it works; a dispatcher may start before its servers."""
    reported = False
    while True:
        try:
            await connect()
        except DatabaseError as error:
            if not reported:
                LOG.warning("%s is not there yet: %s", name, error)
            reported = True
            await asyncio.sleep(_AGAIN_S)
        else:
            return

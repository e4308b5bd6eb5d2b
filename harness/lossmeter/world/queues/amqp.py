"""RabbitMQ: the messages of queues that are ready, and those that a consumer has in hand.

AMQP tells how many are ready; how many were delivered and not acked only the management tells.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, model_validator

from lossmeter.errors import UsageError
from lossmeter.plan.kinds import Interpolate
from lossmeter.plan.kinds import Options as Common
from lossmeter.record.arrays import Records
from lossmeter.record.whole import whole
from lossmeter.world import amqp_client, http_client
from lossmeter.world.queues._ids import FOREIGN, Ids, entries

if TYPE_CHECKING:
    import pika
    from pika.adapters.blocking_connection import BlockingChannel

NEEDS = ("pika",)
_WITHIN_S = 1.0
# A broker that is frozen keeps its connections; by default pika takes 90 s to see that it is.
_HEARTBEAT_S = 2
_NOT_FOUND = 404
# Its numbers are some hundred milliseconds old, and each question costs the broker time.
_MANAGEMENT_EVERY_S = 0.25

Value = TypeVar("Value")


class Options(Common):
    """Which queues are counted.

    Attributes:
        url: of the broker, around every proxy; its path is the virtual host.
        queues: their names; of ``pending``, one that is not there any more is empty.
        management: of a broker with its management plugin; empty for none: then what a
            consumer has in hand does not count. That of the service ``rabbitmq`` needs no words.
    """

    url: Annotated[str, Field(pattern=r"^(\{|amqps?://)")] = "{rabbitmq.url}"
    queues: Annotated[tuple[str, ...], Field(min_length=1)]
    management: Annotated[str, Field(pattern=r"^(\{|https?://|$)")] = ""
    pending: Ids | None = None

    @model_validator(mode="before")
    @classmethod
    def _own_broker(cls, given: Any) -> Any:
        if isinstance(given, dict) and "url" not in given:
            return {"management": "{rabbitmq.management}", **given}
        return given

    def open(self, interpolate: Interpolate) -> Length:
        """Return what reads the queues."""
        return Length(interpolate(self.url), interpolate(self.management), self.queues)

    def ids(self, interpolate: Interpolate) -> Left | None:
        """Return what reads the events in queues that nobody consumes."""
        if self.pending is None:
            return None
        places = interpolate(self.url), interpolate(self.management)
        return Left(*places, self.queues, self.pending)


class _Queues:
    """Some queues of a broker, over a connection that is opened again when it broke."""

    required = True

    def __init__(self, url: str, management: str, queues: tuple[str, ...]) -> None:
        self._url, self._management, self._queues = url, management, queues
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._in_hand: tuple[float, int | None] = 0.0, 0

    def _read(self, one: Callable[[BlockingChannel, str], Value]) -> list[Value] | None:
        """Return what ``one`` reads of each queue that exists; None without an answer."""
        import pika  # noqa: PLC0415 - only this kind needs it

        found = []
        try:
            for queue in self._queues:
                try:
                    found.append(one(self._opened(), queue))
                except pika.exceptions.ChannelClosedByBroker as error:
                    if self.required or error.reply_code != _NOT_FOUND:
                        raise UsageError(f"queue.queues: {error.reply_text}") from None
        except (pika.exceptions.AMQPError, OSError):
            self.close()
            return None
        except ValueError as error:
            raise UsageError(f"queue.url: {error}") from None
        return found

    def _opened(self) -> BlockingChannel:
        """Return a channel: the last, unless a queue that does not exist has cost it."""
        if self._connection is None:
            self._connection = self._connected()
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel

    def _connected(self) -> pika.BlockingConnection:
        import pika  # noqa: PLC0415

        parameters = pika.URLParameters(self._url)
        parameters.heartbeat = _HEARTBEAT_S
        return amqp_client.connect(parameters, _WITHIN_S)

    def _unacked(self) -> int | None:
        """Return how many messages consumers have in hand; None while it cannot be read."""
        if not self._management:
            return 0
        if time.monotonic() - self._in_hand[0] > _MANAGEMENT_EVERY_S:
            counts = [self._unacked_of(queue) for queue in self._queues]
            known = [count for count in counts if count is not None]
            whole = len(known) == len(counts)
            self._in_hand = time.monotonic(), sum(known) if whole else None
        return self._in_hand[1]

    def _unacked_of(self, queue: str) -> int | None:
        parts = urlsplit(self._url)
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        host = quote(unquote(parts.path[1:]) or "/", safe="")
        answer = http_client.ask(
            f"{self._management}/api/queues/{host}/{quote(queue, safe='')}",
            _WITHIN_S,
            headers={"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"},
        )
        if answer is not None and answer.status == _NOT_FOUND:
            return 0
        if answer is not None and answer.status in {401, 403}:
            raise UsageError(f"queue.management: it refuses the url's user with {answer.status}")
        state = answer.json_object() if answer is not None and answer.ok else None
        if state is None:
            return None
        unacked = whole(state.get("messages_unacknowledged", 0))
        return None if unacked < 0 else unacked

    def close(self) -> None:
        """Close the connection."""
        import pika  # noqa: PLC0415

        connection, self._connection, self._channel = self._connection, None, None
        try:
            if connection is not None and connection.is_open:
                connection.close()
        except (pika.exceptions.AMQPError, OSError):
            # It broke while it was closed.
            return


def _counts(channel: BlockingChannel, queue: str) -> tuple[int, int]:
    """Return how many messages are ready, and how many consumers there are."""
    method = channel.queue_declare(queue, passive=True).method
    return int(method.message_count), int(method.consumer_count)


class Length(_Queues):
    """Adds up the queues."""

    def __call__(self) -> int | None:
        """Return how many messages wait or are in hand; None while the broker does not say.

        Raises:
            UsageError: the queues cannot be read as asked.
        """
        counts = self._read(_counts)
        unacked = None if counts is None else self._unacked()
        if counts is None or unacked is None:
            return None
        return sum(ready for ready, _ in counts) + unacked


class Left(_Queues):
    """Reads the events in queues that nobody consumes: they have no owner.

    Of a queue that has consumers nothing is taken, for they would be given it in another order.
    What lies there, or is in hand, may yet come, and which events these are nobody can tell.

    A message that was looked at is marked as redelivered, and a quorum queue counts it as one
    more attempt. So each is looked at once, until the number of messages changes.
    """

    required = False
    leaves_no_trace = False

    def __init__(self, url: str, management: str, queues: tuple[str, ...], ids: Ids) -> None:
        super().__init__(url, management, queues)
        self._ids = ids
        self._known: dict[str, list[tuple[int, int]]] = {}

    def __call__(self) -> Records | None:
        """Return the events that are not done, dtype ENTRY."""
        held = self._read(self._held)
        unacked = None if held is None else self._unacked()
        if held is None or unacked is None:
            return None
        left = [(ids, False, None) for ids_of, _ in held for ids in ids_of]
        may_come = unacked + sum(count for _, count in held)
        return entries([*left, *([(FOREIGN, True, 0.0)] * may_come)])

    def _held(self, channel: BlockingChannel, queue: str) -> tuple[list[tuple[int, int]], int]:
        """Return the events without an owner, and the number of those that have one."""
        ready, consumers = _counts(channel, queue)
        if consumers:
            self._known.pop(queue, None)
            return [], ready
        known = self._known.get(queue)
        if known is None or len(known) != ready:
            known = self._known[queue] = self._looked_at(channel, queue, ready)
        return known, 0

    def _looked_at(self, channel: BlockingChannel, queue: str, most: int) -> list[tuple[int, int]]:
        """Take messages and give them back, to where they stood."""
        found = []
        for _ in range(most):
            method, _, body = channel.basic_get(queue)
            if method is None or body is None:
                break
            found.append(self._ids.of(body.decode("utf-8", "replace")))
        if found:
            channel.basic_nack(multiple=True)
        return found

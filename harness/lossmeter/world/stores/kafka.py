"""Kafka: the messages of a topic, from its beginning to its end; joins no group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from lossmeter.errors import CollectError, UsageError
from lossmeter.model import plural
from lossmeter.plan.kinds import Interpolate, filled
from lossmeter.plan.of_kafka import OfKafka
from lossmeter.world.stores import Columns
from lossmeter.world.stores._records import UNDATED, Record, RecordStore, Shape

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

NEEDS = ("confluent_kafka",)

_WITHIN_S = 5.0
# A broker that serves is never silent for so long in the middle of a topic.
_SILENT_S = 60.0
_PART = 1000
_SOURCES = {"rows": "topic", "dead_lettered": "dead_letter_topic", "pending": "pending_topic"}
# librdkafka's: messages that a transaction took back are no messages.
_CONSUMER = {
    "group.id": "lossmeter",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "log_level": 0,
}

Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)]


class Options(OfKafka, Shape):
    """Which topic, and where things stand in a message of it.

    Attributes:
        record: whether the value of a message or its key is the record.
        dead_letter_topic, pending_topic: of events that are accounted for there.
    """

    record: Literal["value", "key"] = "value"
    dead_letter_topic: Topic | None = None
    pending_topic: Topic | None = None

    def open(self, interpolate: Interpolate) -> Store:
        """Return what reads the topic."""
        address = {"bootstrap.servers": interpolate(self.address)}
        return Store(address | filled(self.settings, interpolate), self)


class Store(RecordStore):
    """Reads topics.

    The order is known of a topic of one partition. The time of a message is the broker's
    where the topic has ``message.timestamp.type=LogAppendTime``; a producer's own time says
    when it began to send, so it is none at which the message was persisted.
    """

    dated = True
    positioned = False

    def __init__(self, settings: dict[str, str], asked: Options) -> None:
        super().__init__(asked)
        self._settings, self._asked = settings, asked
        self.sources = {a: n for a, n in _SOURCES.items() if getattr(asked, n) is not None}
        self._open: Consumer | None = None

    def check(self) -> Columns:
        """Return what is known of each message; the topics need not be there yet."""
        try:
            for array in self.sources:
                self.count(array)
            with self._consumer("topic") as consumer:
                self.positioned = len(self._partitions(consumer, "topic")) == 1
        except CollectError as error:
            raise UsageError(str(error)) from None
        return self.columns()

    def count(self, array: str) -> int:
        """Return how many offsets are taken, which counts marks of transactions too."""
        source = self.sources[array]
        with self._consumer(source) as consumer:
            return sum(end for _, end in self._offsets(consumer, source).values())

    def records(self, source: str) -> Iterator[Record]:
        """Yield the messages of all partitions as they come."""
        from confluent_kafka import KafkaError, TopicPartition  # noqa: PLC0415

        topic = self._topic(source)
        with self._consumer(source) as consumer:
            left = {n for n, (_, end) in self._offsets(consumer, source).items() if end}
            consumer.assign([TopicPartition(topic, number, 0) for number in left])
            heard = time.monotonic()
            while left:
                for message in consumer.consume(_PART, 1.0):
                    heard, error = time.monotonic(), message.error()
                    if error is None:
                        yield self._record(message)
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                        left.discard(message.partition())
                    else:
                        raise CollectError(f"persisted.{source}: Kafka cannot be read: {error}")
                if time.monotonic() - heard > _SILENT_S:
                    raise CollectError(
                        f"persisted.{source}: Kafka has said nothing for {_SILENT_S:g} s"
                    )
            consumer.unassign()

    def _record(self, message: Message) -> Record:
        from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME  # noqa: PLC0415

        content = message.value() if self._asked.record == "value" else message.key()
        kind, at_ms = message.timestamp()
        at_ns = at_ms * 10**6 if kind == TIMESTAMP_LOG_APPEND_TIME else UNDATED
        return content or b"", message.offset() or 0, at_ns

    def _offsets(self, consumer: Consumer, source: str) -> dict[int, tuple[int, int]]:
        """Return begin and end of each partition; none where there is no such topic.

        Raises:
            CollectError: messages were removed, and would look lost.
        """
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        topic, found = self._topic(source), {}
        for number in self._partitions(consumer, source):
            at = TopicPartition(topic, number)
            found[number] = first, _ = consumer.get_watermark_offsets(at, _WITHIN_S)
            if first > 0:
                raise CollectError(
                    f"persisted.{source}: the first {plural(first, 'message')} of partition "
                    f"{number} of {topic!r} had been removed, and cannot be known any more; let "
                    "the topic keep all for the time of a run"
                )
        return found

    def _partitions(self, consumer: Consumer, source: str) -> list[int]:
        topic = self._topic(source)
        return list(consumer.list_topics(topic, _WITHIN_S).topics[topic].partitions)

    def _topic(self, source: str) -> str:
        return str(getattr(self._asked, source))

    @contextmanager
    def _consumer(self, source: str) -> Iterator[Consumer]:
        """Give the connection, which stays open.

        Raises:
            CollectError: the brokers do not answer.
        """
        from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415

        try:
            if self._open is None:
                self._open = Consumer({**_CONSUMER, **self._settings})
            yield self._open
        except KafkaException as error:
            self.close()
            raise CollectError(f"persisted.{source}: Kafka cannot be read: {error}") from None

    def absent(self) -> str:
        """Return that there is no such topic."""
        with self._consumer("topic") as consumer:
            there = bool(self._partitions(consumer, "topic"))
        return "" if there else f"there is no topic {self._asked.topic!r} in Kafka"

    def place(self, source: str, number: int) -> str:
        """Return which message it is."""
        return f"message {number} of {self._topic(source)!r}"

    def again(self) -> Self:
        """Return another that reads the same over a connection of its own."""
        return type(self)(self._settings, self._asked)

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

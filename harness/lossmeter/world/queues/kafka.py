"""Kafka: what is in a topic beyond the offsets that a consumer group has committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from lossmeter.errors import UsageError
from lossmeter.plan.kinds import Interpolate, filled
from lossmeter.plan.kinds import Options as Common
from lossmeter.plan.of_kafka import OfKafka
from lossmeter.record.arrays import Records
from lossmeter.world.queues._ids import Ids, entries

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

NEEDS = ("confluent_kafka",)

_WITHIN_S = 2.0
_PAGE = 1000
# How long a topic or a group that was just made may take until the brokers know whose it is.
_SETTLES_S, _AGAIN_S = 5.0, 0.1


class Options(OfKafka, Common):
    """Whose lag is read.

    Attributes:
        group: that commits offsets.
    """

    group: Annotated[str, Field(min_length=1)]
    pending: Ids | None = None

    def open(self, interpolate: Interpolate) -> Length:
        """Return what reads the lag."""
        return Length(self._settings(interpolate), self.topic, self.group)

    def ids(self, interpolate: Interpolate) -> Uncommitted | None:
        """Return what reads the records that are not committed."""
        if self.pending is None:
            return None
        return Uncommitted(self._settings(interpolate), self.topic, self.group, self.pending)

    def _settings(self, interpolate: Interpolate) -> dict[str, str]:
        address = interpolate(self.address)
        return {"bootstrap.servers": address, **filled(self.settings, interpolate)}


class _Group:
    """Asks for committed offsets and the topic's ends; joins no group."""

    def __init__(self, settings: dict[str, str], topic: str, group: str) -> None:
        self._settings, self._topic, self._group = settings, topic, group
        self._consumer: Consumer | None = None

    def _uncommitted(self) -> list[tuple[TopicPartition, int]] | None:
        """Return each partition at its first offset that is not committed, and its end."""
        from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415

        if self._consumer is None:
            self._consumer = Consumer(
                {**self._settings, "group.id": self._group, "enable.auto.commit": False}
            )
        deadline = time.monotonic() + _SETTLES_S
        while True:
            try:
                return self._spans(self._consumer)
            except KafkaException as error:
                if not _passes(error.args[0]) or time.monotonic() >= deadline:
                    self.close()
                    return None
            time.sleep(_AGAIN_S)

    def _spans(self, consumer: Consumer) -> list[tuple[TopicPartition, int]]:
        from confluent_kafka import KafkaError, KafkaException, TopicPartition  # noqa: PLC0415

        topic = consumer.list_topics(self._topic, _WITHIN_S).topics[self._topic]
        if topic.error is not None and topic.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(topic.error)
        if not topic.partitions:
            raise UsageError(f"queue.topic: the broker has no topic {self._topic!r}")
        asked = [TopicPartition(self._topic, number) for number in topic.partitions]
        committed = consumer.committed(asked, _WITHIN_S)
        for each in committed:
            if each.error is not None:
                raise KafkaException(each.error)
        return [self._span(consumer, each) for each in committed]

    @staticmethod
    def _span(consumer: Consumer, committed: TopicPartition) -> tuple[TopicPartition, int]:
        first, end = consumer.get_watermark_offsets(committed, _WITHIN_S)
        # Below zero stands for no offset committed so far.
        committed.offset = max(first, committed.offset)
        return committed, end

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def _passes(error: KafkaError) -> bool:
    """Return whether an answer may come in a moment: brokers agree on who gives it, or are slow."""
    from confluent_kafka import KafkaError  # noqa: PLC0415

    return error.code() in {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the name is theirs
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
    }


class Length(_Group):
    """Adds up the lags."""

    def __call__(self) -> int | None:
        """Return how many messages wait now; None while the brokers do not say."""
        spans = self._uncommitted()
        return None if spans is None else sum(max(0, end - at.offset) for at, end in spans)


class Uncommitted(_Group):
    """Reads the records that are not committed, each once; nobody is known to have one."""

    leaves_no_trace = True

    def __init__(self, settings: dict[str, str], topic: str, group: str, ids: Ids) -> None:
        super().__init__(settings, topic, group)
        self._ids = ids
        self._known: dict[int, dict[int, tuple[int, int]]] = {}

    def __call__(self) -> Records | None:
        """Return the events that are not committed, dtype ENTRY."""
        spans = self._uncommitted()
        if spans is None or not all(self._read_on(at, end) for at, end in spans):
            return None
        return entries(
            (ids, False, None) for known in self._known.values() for ids in known.values()
        )

    def _read_on(self, at: TopicPartition, end: int) -> bool:
        """Read what is new of a partition; return whether its end was reached."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        known = {o: i for o, i in self._known.get(at.partition, {}).items() if o >= at.offset}
        self._known[at.partition] = known
        begin = max([at.offset, *(offset + 1 for offset in known)])
        if begin >= end or self._consumer is None:
            return True
        self._consumer.assign([TopicPartition(at.topic, at.partition, begin)])
        deadline = time.monotonic() + _WITHIN_S
        while begin < end and time.monotonic() < deadline:
            before = begin
            for message in self._consumer.consume(_PAGE, 0.1):
                if message.error() is None:
                    text = (message.value() or b"").decode("utf-8", "replace")
                    known[int(message.offset() or 0)] = self._ids.of(text)
            # Beyond the last record there may be marks of transactions, which nobody is given.
            (place,) = self._consumer.position([TopicPartition(at.topic, at.partition)])
            begin = max(begin, place.offset)
            if begin > before:
                deadline = time.monotonic() + _WITHIN_S
        self._consumer.unassign()
        return begin >= end

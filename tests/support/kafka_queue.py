"""A Kafka topic with a group that reads it, as tests of what is seen from outside need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.servers import Server, kafka_login

WITHIN_S = 20


@dataclass(frozen=True, slots=True)
class KafkaQueue:
    """A topic of two partitions that was just made.

    Attributes:
        table: what ``[queue]`` says of it; its address is ``{kafka.address}``.
    """

    server: Server
    topic: str
    group: str

    @property
    def table(self) -> dict[str, Any]:
        login = kafka_login(self.server)
        settings = {name: value for name, value in login.items() if name != "bootstrap.servers"}
        return {"kind": "kafka", "topic": self.topic, "group": self.group, "settings": settings}

    def write(self, *records: tuple[int, str]) -> None:
        """Write records, each to the partition that it names."""
        producer = Producer(kafka_login(self.server))
        for partition, text in records:
            producer.produce(self.topic, text, partition=partition)
        assert producer.flush(WITHIN_S) == 0

    def commit(self, partition: int, offset: int) -> None:
        """Commit an offset for the group."""
        consumer = Consumer({**kafka_login(self.server), "group.id": self.group})
        at = TopicPartition(self.topic, partition, offset)
        consumer.commit(offsets=[at], asynchronous=False)
        consumer.close()


def kafka_queue(server: Server, topic: str, group: str) -> KafkaQueue:
    """Make a topic."""
    admin = AdminClient(kafka_login(server))
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(WITHIN_S)
    return KafkaQueue(server, topic, group)

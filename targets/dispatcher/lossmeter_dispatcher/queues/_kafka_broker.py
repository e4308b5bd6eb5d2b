"""How clients of Kafka find their broker, their topic and their group."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from lossmeter_dispatcher.config import QueueSettings

ANSWER_S = 5.0
ROOM_POLL_S = 0.02

Config = dict[str, str | int | float | bool]


def client(settings: QueueSettings) -> Config:
    """Return how any client finds the broker."""
    found: Config = {
        "bootstrap.servers": settings.address,
        "socket.timeout.ms": int(ANSWER_S * 1000),
        "reconnect.backoff.max.ms": 1000,
    }
    if settings.username:
        found |= {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": settings.username,
            "sasl.password": settings.password,
        }
    return found


def membership(settings: QueueSettings, group: str) -> Config:
    """Return how a consumer joins its group."""
    session_ms = int(settings.session_timeout_s * 1000)
    joins: Config = {
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": max(100, session_ms // 10),
        # A slow handler must not get this process thrown out of its group.
        "max.poll.interval.ms": 86_400_000,
        "fetch.wait.max.ms": 50,
        # What waits belongs in the broker's memory, not in this process's.
        "queued.max.messages.kbytes": 1024,
        # When so much waits, the client would look away for a second, and of large events
        # it takes few at a time.
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 100,
    }
    if settings.instance_id:
        joins["group.instance.id"] = settings.instance_id
    return joins


def prepare(settings: QueueSettings, group: str) -> None:
    """Create the topic, and wait for the group's coordinator.

    Raises:
        OSError: Kafka does not answer.
    """
    admin = AdminClient(client(settings))
    _make_topic(admin, settings)
    _wake_coordinator(admin, group)


def _wake_coordinator(admin: AdminClient, group: str) -> None:
    """Wait until the group's coordinator has loaded.

    A consumer that meets it while it loads pauses for 3 s before it joins again.
    """
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        future = admin.describe_consumer_groups([group])[group]
        try:
            future.result(timeout=ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
        except TimeoutError:
            pass
        else:
            return
        time.sleep(ROOM_POLL_S)


def _make_topic(admin: AdminClient, settings: QueueSettings) -> None:
    topic = NewTopic(settings.name, settings.partitions, 1)
    future = admin.create_topics([topic], operation_timeout=ANSWER_S)[settings.name]
    try:
        future.result(timeout=ANSWER_S * 2)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise OSError(f"Kafka does not answer: {error}") from None
    except TimeoutError:
        raise OSError("Kafka does not answer in time") from None

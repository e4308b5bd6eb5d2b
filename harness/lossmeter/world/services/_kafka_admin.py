"""What an administrator asks of a Kafka node: what there is in it, and to remove it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world.services._kafka_groups import Member, leave
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_ANSWER_S = 5.0
_EMPTIED_WITHIN_S = 10.0
_LOOK_S = 0.02
_NODE = "1"
# Kafka's own, made with the first group: of groups that are gone it keeps nothing. What it
# makes for transactions remembers them for days, so it counts as left.
_INTERNAL = frozenset({"__consumer_offsets"})


class Admin:
    """Commands one node."""

    def __init__(self, node: Address, username: str, password: str) -> None:
        self._node = node
        self._username, self._password = username, password

    def serves(self, within_s: float) -> bool:
        """Return whether it answers, and is a broker in its own eyes."""
        from confluent_kafka import KafkaException  # noqa: PLC0415 - heavy

        try:
            return bool(self._client().list_topics(timeout=within_s).brokers)
        except KafkaException:
            return False

    def contents(self) -> frozenset[str]:
        """Return topics, groups and settings, one line each."""
        with self._asking() as client:
            said = {f"topic {name}" for name in _topics(client)}
            said |= {f"group {name}" for name in _groups(client)}
            said |= {f"setting {name} = {value}" for name, value in _settings(client)}
        return frozenset(said)

    def empty(self) -> None:
        """Delete all topics and groups; members of a group are put out of it.

        Raises:
            ServiceError: it does not answer, or something did not go.
        """
        put_out: set[Member] = set()
        with self._asking() as client:

            def groups_left() -> list[str]:
                if groups := _groups(client):
                    for name in groups:
                        put_out.update(self._put_out(client, name, put_out))
                    _each(client.delete_consumer_groups(groups))
                return groups

            def topics_left() -> list[str]:
                if topics := [name for name in _topics(client) if not name.startswith("__")]:
                    _each(client.delete_topics(topics, operation_timeout=_ANSWER_S))
                return topics

            _wait_gone("groups", groups_left)
            _wait_gone("topics", topics_left)

    def _put_out(self, client: AdminClient, group: str, before: set[Member]) -> set[Member]:
        """Put all members out of a group and return them; ``before`` were put out already."""
        found = client.describe_consumer_groups([group])[group].result(_ANSWER_S)
        members = {Member(m.member_id, m.group_instance_id or None) for m in found.members}
        if members & before:
            # Those of the newer protocol are put out by nobody but themselves.
            raise ServiceError(f"kafka on {self._node} keeps members in group {group}")
        if members:
            leave(self._node, self._username, self._password, group, sorted(members, key=str))
        return members

    @contextmanager
    def _asking(self) -> Iterator[AdminClient]:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - heavy

        try:
            yield self._client()
        except KafkaException as error:
            raise ServiceError(f"kafka on {self._node}: {error.args[0].str()}") from None
        except TimeoutError:
            raise ServiceError(
                f"kafka on {self._node} did not answer within {_ANSWER_S:g} s"
            ) from None

    def _client(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - heavy

        return AdminClient(
            {
                "bootstrap.servers": str(self._node),
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": self._username,
                "sasl.password": self._password,
                "log_level": 0,
            }
        )


def _topics(client: AdminClient) -> list[str]:
    return sorted(set(client.list_topics(timeout=_ANSWER_S).topics) - _INTERNAL)


def _groups(client: AdminClient) -> list[str]:
    found = client.list_consumer_groups().result(_ANSWER_S)
    if found.errors:
        raise found.errors[0]
    return sorted(group.group_id for group in found.valid)


def _settings(client: AdminClient) -> Iterator[tuple[str, str]]:
    """Yield the settings of the node; those that are secret are not reported."""
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # noqa: PLC0415 - heavy
        ConfigResource,
        ResourceType,
    )

    for future in client.describe_configs([ConfigResource(ResourceType.BROKER, _NODE)]).values():
        for entry in future.result(_ANSWER_S).values():
            yield entry.name, str(entry.value)


def _each(asked: Mapping[str, Future[Any]]) -> None:
    """Wait for the answers; what is gone already, or not yet empty, is seen at the next look."""
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - heavy

    for future in asked.values():
        try:
            future.result(_ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() not in {
                KafkaError.UNKNOWN_TOPIC_OR_PART,
                KafkaError.GROUP_ID_NOT_FOUND,
                KafkaError.NON_EMPTY_GROUP,
            }:
                raise


def _wait_gone(what: str, left: Callable[[], list[str]]) -> None:
    last: list[str] = []

    def gone() -> bool:
        last[:] = left()
        return not last

    if not wait_for(gone, _EMPTIED_WITHIN_S, _LOOK_S):
        names = ", ".join(last)
        raise ServiceError(f"kafka still had {what} {names} after {_EMPTIED_WITHIN_S:g} s")

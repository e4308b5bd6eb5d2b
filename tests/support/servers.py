"""Running servers as tests see them."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from lossmeter.world.waiting import wait_for

# The management of RabbitMQ gathers its numbers now and then, on a busy machine seldom.
TOLD_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server as tests see it."""

    address: str
    password: str
    username: str
    url: str
    management: str = ""


def redis_url(server: Server) -> str:
    """Return the URL of a Redis."""
    return f"redis://{server.username}:{server.password}@{server.address}/0"


def keep_in_redis(client: redis.Redis) -> None:
    """Wait until what was written is in the server's file.

    It answers before: while the disk is busy with an earlier fsync, its next write to the file of
    commands waits for up to 2 s, and a kill then takes what was answered.
    """
    assert wait_for(lambda: not client.info("persistence")["aof_buffer_length"], 10)


def kafka_login(server: Server) -> dict[str, str]:
    """Return what a client of a Kafka is set to."""
    return {
        "bootstrap.servers": server.address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": server.username,
        "sasl.password": server.password,
    }

"""What tests write into each server, and read from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pika
import psycopg
import pymysql
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    NewTopic,
)

from lossmeter.world import http_client
from tests.support.servers import keep_in_redis
from tests.support.started import Server


def postgres_write(server: Server, value: str) -> None:
    with psycopg.connect(server.variables["url"]) as connection:
        connection.execute("create table if not exists kept (value text)")
        connection.execute("insert into kept values (%s)", (value,))


def postgres_read(server: Server) -> list[str]:
    with psycopg.connect(server.variables["url"]) as connection:
        return [value for (value,) in connection.execute("select value from kept")]


def redis_write(server: Server, value: str) -> None:
    with redis.Redis.from_url(server.variables["url"]) as client:
        client.rpush("kept", value)
        keep_in_redis(client)


def redis_read(server: Server) -> list[str]:
    with redis.Redis.from_url(server.variables["url"], decode_responses=True) as client:
        return [str(value) for value in client.lrange("kept", 0, -1)]


def kafka_client(variables: dict[str, str]) -> dict[str, str | int | float | bool]:
    return {
        "bootstrap.servers": variables["address"],
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": variables["username"],
        "sasl.password": variables["password"],
        "log_level": 0,
    }


def kafka_write(server: Server, value: str) -> None:
    admin = AdminClient(kafka_client(server.variables))
    if "kept" not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
    producer = Producer({**kafka_client(server.variables), "acks": "all"})
    producer.produce("kept", value.encode())
    assert producer.flush(10) == 0


def kafka_read(server: Server) -> list[str]:
    consumer = Consumer({**kafka_client(server.variables), "group.id": "test"})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition("kept", 0), timeout=10)
        consumer.assign([TopicPartition("kept", 0, 0)])
        messages = consumer.consume(end, timeout=10)
        return [(message.value() or b"").decode() for message in messages]
    finally:
        consumer.close()


def mariadb_session(server: Server, **more: Any) -> pymysql.Connection[Any]:
    variables = server.variables
    return pymysql.connect(
        host=variables["host"],
        port=int(variables["port"]),
        user=variables["username"],
        password=variables["password"],
        database=variables["database"],
        autocommit=True,
        **more,
    )


def mariadb_write(server: Server, value: str) -> None:
    with closing(mariadb_session(server)) as connection, connection.cursor() as cursor:
        cursor.execute("create table if not exists kept (value text)")
        cursor.execute("insert into kept values (%s)", (value,))


def mariadb_read(server: Server) -> list[str]:
    with closing(mariadb_session(server)) as connection, connection.cursor() as cursor:
        cursor.execute("select value from kept")
        return [value for (value,) in cursor.fetchall()]


def rabbitmq_session(server: Server) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(server.variables["url"]))


def rabbitmq_write(server: Server, value: str) -> None:
    with rabbitmq_session(server) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", value.encode(), pika.BasicProperties(delivery_mode=2))


def rabbitmq_read(server: Server) -> list[str]:
    with rabbitmq_session(server) as connection:
        channel = connection.channel()
        found = []
        while (body := channel.basic_get("kept")[2]) is not None:
            found.append(body.decode())
        return found


def webhook_write(server: Server, value: str) -> None:
    answer = http_client.ask(server.variables["url"], method="POST", body=value.encode())
    assert answer is not None
    assert answer.ok


def webhook_read(server: Server) -> list[str]:
    variables = server.variables
    secret = {"Authorization": f"Bearer {variables['password']}"}
    answer = http_client.ask(f"{variables['control']}/calls", headers=secret)
    assert answer is not None
    return [json.loads(line)["body"] for line in answer.body.splitlines()]


KEEPERS: dict[str, tuple[Callable[[Server, str], None], Callable[[Server], list[str]]]] = {
    "postgres": (postgres_write, postgres_read),
    "redis": (redis_write, redis_read),
    "kafka": (kafka_write, kafka_read),
    "webhook": (webhook_write, webhook_read),
    "mariadb": (mariadb_write, mariadb_read),
    "rabbitmq": (rabbitmq_write, rabbitmq_read),
}

"""What a server that serves one run after the other must let go of."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pika
import psycopg
import pytest
import redis
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from lossmeter.errors import ServiceError
from lossmeter.world import http_client
from lossmeter.world.service import renew
from lossmeter.world.services._toxiproxy_control import Proxies
from lossmeter.world.site import Toxic
from tests.support.service_clients import (
    kafka_client,
    kafka_write,
    mariadb_session,
    mariadb_write,
    rabbitmq_session,
    rabbitmq_write,
    webhook_write,
)
from tests.support.started import NAMES, PASSWORD, Server, loopback, prepared


def postgres_mess(server: Server, still_open: ExitStack) -> None:
    url = server.variables["url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create schema more")
        connection.execute("create table more.events (id int primary key)")
        connection.execute("insert into more.events select generate_series(1, 1000)")
        connection.execute("create function more.f() returns int language sql as 'select 1'")
        connection.execute("select lo_create(0)")
        connection.execute("alter database events set work_mem = '1MB'")
    left = still_open.enter_context(closing(psycopg.connect(url)))
    left.execute("lock table more.events")
    elsewhere = psycopg.connect(url.replace("/events", "/postgres"), application_name="forgotten")
    still_open.callback(elsewhere.close)


def redis_mess(server: Server, still_open: ExitStack) -> None:
    url = server.variables["url"]
    client = still_open.enter_context(redis.Redis.from_url(url, client_name="forgotten"))
    client.rpush("queue", *range(1000))
    client.xadd("stream", {"a": "b"})
    client.xgroup_create("stream", "group")
    client.eval("return 1", 0)
    client.function_load("#!lua name=mine\nredis.register_function('f', function() end)")
    client.execute_command("SELECT", 1)
    client.set("elsewhere", "x")
    still_open.enter_context(client.pubsub()).subscribe("channel")


def kafka_mess(server: Server, still_open: ExitStack) -> None:
    del still_open
    config = kafka_client(server.variables)
    kafka_write(server, "left")
    kafka_write(server, "over")
    for more in ({"group.instance.id": "static"}, {}):
        group = f"group-{len(more)}"
        member = {**config, **more, "group.id": group, "auto.offset.reset": "earliest"}
        # As a process that is killed leaves it: its session goes on for most of a minute.
        script = (
            "import sys, json, os\n"
            "from confluent_kafka import Consumer\n"
            "consumer = Consumer(json.loads(sys.argv[1]))\n"
            "consumer.subscribe(['kept'])\n"
            "assert consumer.poll(20) is not None\n"
            "consumer.commit(asynchronous=False)\n"
            "os._exit(0)\n"
        )
        command = (
            sys.executable,
            "-c",
            script,
            json.dumps({**member, "session.timeout.ms": 45000}),
        )
        subprocess.run(command, check=True, timeout=60)


def toxiproxy_mess(server: Server, still_open: ExitStack) -> None:
    del still_open
    proxies = Proxies(server.slot)
    proxies.create("left", loopback(), server.slot.listen)
    proxies.add("left", Toxic("slow", "latency", attributes={"latency": 300, "jitter": 0}))


def mariadb_mess(server: Server, still_open: ExitStack) -> None:
    mariadb_write(server, "left")
    with closing(mariadb_session(server)) as connection, connection.cursor() as cursor:
        cursor.execute("create database `more``s`")
        cursor.execute("create table `more``s`.events (id int primary key)")
        cursor.execute("create function f() returns int return 1")
    left = still_open.enter_context(mariadb_session(server))
    left.cursor().execute("lock table kept write")


def rabbitmq_mess(server: Server, still_open: ExitStack) -> None:
    rabbitmq_write(server, "left")
    connection = still_open.enter_context(suppressed(rabbitmq_session(server)))
    channel = connection.channel()
    channel.queue_declare("own", exclusive=True)
    channel.exchange_declare("more", "topic")
    channel.queue_bind("kept", "more", "#")
    channel.basic_consume("kept", lambda *_: None)
    rabbitmq_manage(server, "vhosts/else%2Fwhere", {})
    policy = {"pattern": ".*", "definition": {"max-length": 1}}
    rabbitmq_manage(server, "policies/%2F/short", policy)
    # The management hears of it a little later.
    deadline = time.monotonic() + 10
    while "connection of lossmeter" not in server.service.contents(server.slot):
        assert time.monotonic() < deadline, "nobody hears of the connection"
        time.sleep(0.05)


@contextmanager
def suppressed(connection: pika.BlockingConnection) -> Iterator[pika.BlockingConnection]:
    yield connection
    # The server has ended it by now.
    with suppress(pika.exceptions.AMQPError):
        connection.close()


def rabbitmq_manage(server: Server, what: str, body: dict[str, Any]) -> None:
    login = f"{server.variables['username']}:{server.variables['password']}".encode()
    answer = http_client.ask(
        f"{server.variables['management']}/api/{what}",
        10,
        method="PUT",
        body=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"},
    )
    assert answer is not None
    assert answer.status in {201, 204}, answer


def webhook_mess(server: Server, still_open: ExitStack) -> None:
    del still_open
    webhook_write(server, "left")
    secret = {"Authorization": f"Bearer {server.variables['password']}"}
    told = json.dumps({"answer": "refuse"}).encode()
    behave = f"{server.variables['control']}/behave"
    http_client.ask(behave, method="POST", body=told, headers=secret)


MESSES: dict[str, tuple[Callable[[Server, ExitStack], None], set[str]]] = {
    "postgres": (
        postgres_mess,
        {
            "schema more in database events",
            "relation events in database events",
            "function f in database events",
            "session forgotten of harness",
        },
    ),
    "redis": (redis_mess, {"2 keys in db0", "1 keys in db1", "library mine", "client forgotten"}),
    "kafka": (kafka_mess, {"topic kept", "group group-0", "group group-1"}),
    "toxiproxy": (toxiproxy_mess, {"proxy left"}),
    "mariadb": (
        mariadb_mess,
        {
            "database more`s",
            "table more`s.events",
            "table events.kept",
            "routine events.f",
            "session of root",
        },
    ),
    "rabbitmq": (
        rabbitmq_mess,
        {
            "queue kept in /",
            "queue own in /",
            "vhost name=else/where",
            "exchange name=more vhost=/",
            "binding source=more destination=kept routing_key=# vhost=/",
            "connection of lossmeter",
        },
    ),
    "webhook": (webhook_mess, {"1 calls", "answer answer = refuse"}),
}


@pytest.fixture(scope="module", params=NAMES)
def used(request: pytest.FixtureRequest) -> Iterator[tuple[Server, frozenset[str]]]:
    """A server that will be used, and its contents when it was new."""
    with prepared(request.param) as server:
        server.start()
        yield server, server.service.contents(server.slot)


def test_an_emptied_server_is_as_when_it_was_new(used: tuple[Server, frozenset[str]]) -> None:
    server, as_new = used
    mess, left = MESSES[server.service.name]
    for _ in range(2):
        with ExitStack() as still_open:
            mess(server, still_open)
            found = server.service.contents(server.slot)
            assert left <= found - as_new
            begin = time.monotonic()
            renew(server.service, server.slot, as_new)
            # Far less than a session of Kafka's, which nobody waits for.
            assert time.monotonic() - begin < 10
        assert server.service.contents(server.slot) == as_new
        assert server.service.ready(server.slot)


def postgres_spoil(server: Server) -> None:
    with psycopg.connect(server.variables["url"], autocommit=True) as connection:
        connection.execute("alter system set fsync = off")
        connection.execute("create role intruder")


def redis_spoil(server: Server) -> None:
    with redis.Redis.from_url(server.variables["url"]) as client:
        client.config_set("appendfsync", "no")
        client.acl_setuser("intruder", enabled=True)


def kafka_spoil(server: Server) -> None:
    admin = AdminClient(kafka_client(server.variables))
    change = ConfigEntry("log.retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[change])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def mariadb_spoil(server: Server) -> None:
    with closing(mariadb_session(server)) as connection, connection.cursor() as cursor:
        cursor.execute("set global innodb_flush_log_at_trx_commit = 0")
        cursor.execute("create user intruder")


def rabbitmq_spoil(server: Server) -> None:
    rabbitmq_manage(server, "users/intruder", {"password": "x", "tags": ""})


SPOILT: dict[str, tuple[Callable[[Server], None], str]] = {
    "postgres": (
        postgres_spoil,
        r"still has role intruder .*, still has setting of the file fsync =",
    ),
    "redis": (redis_spoil, r"still has setting appendfsync = no, still has user intruder \("),
    "mariadb": (
        mariadb_spoil,
        r"still has setting innodb_flush_log_at_trx_commit = 0, still has user intruder@% \(",
    ),
    "rabbitmq": (rabbitmq_spoil, r"still has user intruder \("),
    "kafka": (kafka_spoil, r"still has setting log.retention.ms = 1"),
}


@pytest.mark.parametrize("name", sorted(SPOILT))
def test_what_emptying_does_not_undo_is_told(name: str) -> None:
    spoil, reported = SPOILT[name]
    with prepared(name) as server:
        server.start()
        as_new = server.service.contents(server.slot)
        spoil(server)
        with pytest.raises(ServiceError, match=reported) as caught:
            renew(server.service, server.slot, as_new)
        assert f"{name}, emptied, is not as when it was new" in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_a_server_that_is_gone_cannot_be_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossmeter.world.service.ANSWERS_WITHIN_S", 0.2)
    with prepared("redis") as server:
        server.start()
        as_new = server.service.contents(server.slot)
        server.kill()
        with pytest.raises(ServiceError, match="redis does not serve any more"):
            renew(server.service, server.slot, as_new)

"""One contract for every way of reading a queue's length from outside, on real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pika
import psycopg
import pytest
import redis as redis_client

from lossmeter.errors import UsageError
from lossmeter.world import http_client
from lossmeter.world.ports import free_port
from lossmeter.world.queues import QueueLength, queue_options
from lossmeter.world.waiting import wait_for
from tests.support.kafka_queue import kafka_queue
from tests.support.servers import TOLD_WITHIN_S, Server, redis_url

pytestmark = pytest.mark.everywhere


def opened(table: dict[str, Any], **names: str) -> QueueLength:
    def interpolate(text: str) -> str:
        for name, value in names.items():
            text = text.replace("{" + name.replace("__", ".") + "}", value)
        return text

    return queue_options("t", table).open(interpolate)


def known(length: QueueLength) -> int:
    """Return a length; a server that is there tells it in the end, however busy the machine."""
    deadline = time.monotonic() + 20
    while (number := length()) is None:
        assert time.monotonic() < deadline
    return number


@pytest.fixture
def client(redis: Server) -> Iterator[redis_client.Redis]:
    with redis_client.Redis.from_url(redis_url(redis), decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


def test_redis_counts_keys_by_their_types(client: redis_client.Redis, redis: Server) -> None:
    table = {"kind": "redis", "keys": ["jobs", "later", "log", "gone"]}
    length = opened(table, redis__url=redis_url(redis))
    assert length() == 0
    client.rpush("jobs", *range(7))
    client.zadd("later", {"a": 1, "b": 2})
    client.xadd("log", {"n": 1})
    assert length() == 10
    client.set("gone", "text")
    with pytest.raises(UsageError, match="'gone' is a string, which holds no queue"):
        length()
    length.close()


def test_of_a_redis_group_what_is_not_acked_waits(
    client: redis_client.Redis, redis: Server
) -> None:
    table = {"kind": "redis", "keys": ["log"], "group": "workers"}
    length = opened(table, redis__url=redis_url(redis))
    ids = [client.xadd("log", {"n": n}) for n in range(10)]
    assert length() == 10, "nobody has read yet"
    client.xgroup_create("log", "workers", 0)
    client.xreadgroup("workers", "one", {"log": ">"}, count=6)
    client.xack("log", "workers", *ids[:4])
    assert length() == 6, "two are in hand, four were never delivered"
    length.close()


def test_sql_counts_by_a_query(postgres: Server) -> None:
    table = {"kind": "sql", "query": "select count(*) from job where not done; -- all of them"}
    length = opened(table, postgres__url=postgres.url)
    with pytest.raises(UsageError, match=r"queue.query is not a query that works.*job"):
        length()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("create table job (done bool)")
        connection.execute("insert into job select n > 5 from generate_series(1, 9) n")
        assert length() == 5
        connection.execute("drop table job")
    length.close()
    counted = opened({"kind": "sql", "query": "select sum(5::int8)"}, postgres__url=postgres.url)
    assert known(counted) == 5
    counted.close()
    for odd in ("true", "null::int", "1, 2", "-1", "1.5", "'nan'::float8"):
        wrong = opened({"kind": "sql", "query": f"select {odd}"}, postgres__url=postgres.url)
        with pytest.raises(UsageError, match="must return one whole number"):
            wrong()
        wrong.close()
    wrong = opened({"kind": "sql", "query": "select 'five'"}, postgres__url=postgres.url)
    with pytest.raises(UsageError, match="one whole number"):
        wrong()
    wrong.close()


def test_no_variable_of_libpq_reaches_the_query(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PGOPTIONS", "-c search_path=nowhere"), ("PGSSLMODE", "require")):
        monkeypatch.setenv(name, value)
    table = {"kind": "sql", "query": "select cardinality(current_schemas(false))"}
    length = opened(table, postgres__url=postgres.url)
    assert known(length) == 1
    length.close()


def test_kafka_reads_the_lag_of_a_group(kafka: Server) -> None:
    queue = kafka_queue(kafka, "queue-length", "readers")
    length = opened(queue.table, kafka__address=kafka.address)
    queue.write(*((n % 2, str(n)) for n in range(10)))
    assert known(length) == 10, "nothing was committed so far"
    queue.commit(0, 5)
    assert known(length) == 5
    length.close()
    with pytest.raises(UsageError, match="no topic 'nowhere'"):
        opened(queue.table | {"topic": "nowhere"}, kafka__address=kafka.address)()


def test_amqp_counts_what_is_ready_and_what_is_in_hand(rabbitmq: Server) -> None:
    names = {"rabbitmq__url": rabbitmq.url, "rabbitmq__management": rabbitmq.management}
    table = {"kind": "amqp", "queues": ["jobs", "more"]}
    length, ready = opened(table, **names), opened({**table, "url": rabbitmq.url})
    with pytest.raises(UsageError, match="no queue 'jobs' in vhost '/'"):
        length()
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        for queue in table["queues"]:
            channel.queue_declare(queue)
        for n in range(10):
            channel.basic_publish("", "jobs" if n % 2 else "more", b"x")
        assert wait_for(lambda: length() == ready() == 10, TOLD_WITHIN_S)
        taken = [channel.basic_get("jobs")[0] for _ in range(3)]
        assert wait_for(lambda: ready() == 7, TOLD_WITHIN_S), (
            "what is in hand only the management tells"
        )
        assert wait_for(lambda: length() == 10, TOLD_WITHIN_S)
        channel.basic_ack(taken[-1].delivery_tag, multiple=True)
        assert wait_for(lambda: length() == 7, TOLD_WITHIN_S)
        for queue in table["queues"]:
            channel.queue_delete(queue)
    ready.close()
    length.close()
    wrong = rabbitmq.url.replace(rabbitmq.password, "wrong")
    refused = opened({**table, "url": wrong})
    assert refused() is None
    refused.close()


PAGE = """# HELP waiting how many
# TYPE waiting gauge
waiting{queue="mail",shard="0"} 4
waiting{queue="mail",shard="1"} 5.0
waiting{queue="push"} 7
waiting_max 99
"""
JSON = '{"queues": [{"a/b": {"length": 12}}], "text": "x", "big": 1e400, "yes": true}'


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/metrics")
            self.end_headers()
            return
        body = (JSON if self.path == "/state" else PAGE).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("/metrics", {"metric": "waiting"}, 16),
        ("/metrics", {"metric": 'waiting{queue="mail"}'}, 9),
        ("/metrics", {"metric": 'waiting{shard="1",queue="mail"}'}, 5),
        ("/metrics", {"metric": "waiting_min"}, "no metric waiting_min"),
        ("/state", {"pointer": "/queues/0/a~1b/length"}, 12),
        ("/state", {"pointer": "/queues/1"}, "names no number"),
        ("/state", {"pointer": "/text"}, "names no number"),
        ("/state", {"pointer": "/big"}, "names no number"),
        ("/state", {"pointer": "/yes"}, "names no number"),
        ("/metrics", {"pointer": ""}, "names no number"),
    ],
)
def test_a_page_is_read_by_pointer_or_metric(
    pages: str, path: str, options: dict[str, str], expected: int | str
) -> None:
    length = opened({"kind": "http", "url": f"{{pages}}{path}", **options}, pages=pages)
    if isinstance(expected, int):
        assert length() == expected
    else:
        with pytest.raises(UsageError, match=expected):
            length()


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "redis", "keys": ["k"], "url": "redis://127.0.0.1:{port}/0"},
        {"kind": "sql", "query": "select 1", "url": "postgresql://x@127.0.0.1:{port}/x"},
        {"kind": "kafka", "topic": "t", "group": "g", "address": "127.0.0.1:{port}"},
        {"kind": "http", "url": "http://127.0.0.1:{port}/", "pointer": ""},
        {"kind": "amqp", "queues": ["q"], "url": "amqp://x:y@127.0.0.1:{port}/%2F"},
    ],
    ids=lambda table: str(table["kind"]),
)
def test_a_server_that_is_away_says_nothing(table: dict[str, Any]) -> None:
    length = opened(table, port=str(free_port()))
    assert length() is None
    assert length() is None
    length.close()


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "amqp", "url": "amqp://u:x@127.0.0.1:x/", "queues": ["a"]},
        {"kind": "amqp", "url": "amqp://127.0.0.1:99999/", "queues": ["a"]},
        {"kind": "redis", "url": "redis://127.0.0.1:x", "keys": ["a"]},
        {"kind": "redis", "url": "nonsense", "keys": ["a"]},
        {"kind": "sql", "url": "nonsense", "query": "select 1"},
    ],
)
def test_an_address_that_cannot_be_is_told(table: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="queue"):
        opened(table)()


@pytest.mark.parametrize("url", ["http://127.0.0.1:x/", "http://127.0.0.1:99999/", "http://[/"])
def test_at_an_address_that_cannot_be_nobody_answers(url: str) -> None:
    assert http_client.ask(url) is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"kind": "abacus"},
            "queue 'abacus' does not exist; known are amqp, http, kafka, redis, sql",
        ),
        ({"kind": "redis", "keys": []}, "queue.keys"),
        ({"kind": "amqp", "queues": []}, "queue.queues"),
        ({"kind": "amqp", "queues": ["q"], "url": "http://x"}, "queue.url"),
        ({"kind": "http", "url": "u"}, "exactly one of pointer"),
        ({"kind": "sql"}, "queue.query: Field required"),
    ],
)
def test_options_that_cannot_be_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        queue_options("t", table)
    assert said in str(caught.value)

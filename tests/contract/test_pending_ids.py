"""One contract for every way of reading which events a broker holds, on real servers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pika
import psycopg
import pytest
import redis as redis_client

from lossmeter.errors import UsageError
from lossmeter.record.arrays import Records
from lossmeter.world.ports import free_port
from lossmeter.world.queues import PendingIds, queue_options
from lossmeter.world.waiting import wait_for
from tests.support.kafka_queue import kafka_queue
from tests.support.servers import TOLD_WITHIN_S, Server, redis_url

pytestmark = pytest.mark.everywhere


def opened(table: dict[str, Any], **names: str) -> PendingIds:
    def interpolate(text: str) -> str:
        for name, value in names.items():
            text = text.replace("{" + name.replace("__", ".") + "}", value)
        return text

    ids = queue_options("t", table).ids(interpolate)
    assert ids is not None
    return ids


def read(ids: PendingIds) -> list[tuple[int, int]]:
    return sorted((int(e["producer"]), int(e["sequence"])) for e in found(ids))


def found(ids: PendingIds) -> Records:
    """Return what is read; a machine that is busy may be slow to answer, and a server that is
    there answers in the end.
    """
    deadline = time.monotonic() + 20
    while (held := ids()) is None:
        assert time.monotonic() < deadline
    return held


def message(producer: int, sequence: int) -> str:
    return json.dumps({"producer": producer, "sequence": sequence, "payload": "x"})


@pytest.fixture
def client(redis: Server) -> Iterator[redis_client.Redis]:
    with redis_client.Redis.from_url(redis_url(redis), decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


def test_redis_reads_what_waits_and_what_was_taken_and_not_given_back(
    client: redis_client.Redis, redis: Server
) -> None:
    keys = ["jobs", "doing", "later", "unacked", "apart", "gone"]
    table = {"kind": "redis", "keys": ["jobs"], "pending": {"keys": keys}}
    ids = opened(table, redis__url=redis_url(redis))
    assert len(found(ids)) == 0
    client.rpush("jobs", *(message(0, n) for n in range(3)))
    client.lmove("jobs", "doing", "LEFT", "RIGHT")
    client.zadd("later", {message(1, 7): 1})
    client.hset("unacked", "tag", message(2, 8))
    client.sadd("apart", message(3, 9), "no event at all")
    assert read(ids) == [(-1, -1), (0, 0), (0, 1), (0, 2), (1, 7), (2, 8), (3, 9)]
    assert np.isnan(found(ids)["age_s"]).all(), "a list does not say since when"
    client.set("gone", "text")
    with pytest.raises(UsageError, match="'gone' is a string"):
        ids()
    ids.close()


@pytest.mark.parametrize("fields", ["apart", "json"])
def test_of_a_redis_group_it_says_for_how_long_each_has_been_in_hand(
    client: redis_client.Redis, redis: Server, fields: str
) -> None:
    def add(n: int) -> str:
        if fields == "json":
            return str(client.xadd("log", {"event": message(4, n)}))
        return str(client.xadd("log", {"producer": 4, "sequence": n}))

    table = {"kind": "redis", "keys": ["log"], "group": "workers", "pending": {}}
    ids = opened({**table, "pending": {"keys": []}}, redis__url=redis_url(redis))
    names = [add(n) for n in range(6)]
    assert read(ids) == [(4, n) for n in range(6)], "nobody has read yet"
    client.xgroup_create("log", "workers", 0)
    client.xreadgroup("workers", "one", {"log": ">"}, count=4)
    client.xack("log", "workers", names[0])
    client.xdel("log", names[1])
    time.sleep(0.05)
    assert read(ids) == [(4, 2), (4, 3), (4, 4), (4, 5)]
    ages = {int(e["sequence"]): float(e["age_s"]) for e in found(ids)}
    assert min(ages[2], ages[3]) >= 0.05
    assert np.isnan([ages[4], ages[5]]).all()
    client.xclaim("log", "workers", "two", 0, [names[2]])
    again = {int(e["sequence"]): float(e["age_s"]) for e in found(ids)}
    assert again[2] < again[3], "who was given it again has it anew"
    ids.close()


def test_sql_reads_who_has_each_in_hand(postgres: Server) -> None:
    query = "select producer, sequence, owner is not null as owned, age_s from work -- all"
    table = {"kind": "sql", "query": "select 0 -- none", "pending": {"query": query}}
    ids = opened(table, postgres__url=postgres.url)
    with pytest.raises(UsageError, match=r"queue.pending.query is not a query that works.*work"):
        ids()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            "create table work (producer bigint, sequence bigint, owner text, age_s numeric)"
        )
        connection.execute("insert into work values (0, 1, 'me', 3.5), (0, 2, null, null)")
        assert read(ids) == [(0, 1), (0, 2)]
        assert found(ids)["owned"].tolist() == [True, False]
        assert found(ids)["age_s"][0] == 3.5
        connection.execute("insert into work values (null, 3, null, null)")
        assert (-1, -1) in read(ids)
        connection.execute("drop table work")
    ids.close()
    lacking = {**table, "pending": {"query": "select 1 as producer, 2 as sequence"}}
    wrong = opened(lacking, postgres__url=postgres.url)
    with pytest.raises(UsageError, match="must return the column 'owned'"):
        wrong()
    wrong.close()


def test_kafka_reads_the_records_after_the_committed_offset(kafka: Server) -> None:
    queue = kafka_queue(kafka, "pending-ids", "readers-of-ids")
    ids = opened({**queue.table, "pending": {"pattern": PAIR}}, kafka__address=kafka.address)
    assert read(ids) == [], "a topic that was made this moment is empty, not unknown"
    queue.write(*((n % 2, f"event {n % 2}-{n}") for n in range(10)))
    assert read(ids) == sorted((n % 2, n) for n in range(10))
    queue.commit(0, 5)
    queue.write((1, "event 1-11"), (0, "somebody else's"))
    assert read(ids) == [(-1, -1), (1, 1), (1, 3), (1, 5), (1, 7), (1, 9), (1, 11)]
    ids.close()


def test_of_amqp_it_reads_the_queues_that_nobody_consumes(rabbitmq: Server) -> None:
    names = {"rabbitmq__url": rabbitmq.url, "rabbitmq__management": rabbitmq.management}
    table = {"kind": "amqp", "queues": ["left", "gone"], "pending": {}}
    ids = opened(table, **names)
    assert len(found(ids)) == 0
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("left")
        # One that is there and empty, as at the beginning, holds none either.
        assert len(found(ids)) == 0
        for n in range(4):
            channel.basic_publish("", "left", message(5, n).encode())
        channel.basic_publish("", "left", b"somebody else's")
        assert wait_for(lambda: len(found(ids)) == 5, TOLD_WITHIN_S)
        assert read(ids) == [(-1, -1), (5, 0), (5, 1), (5, 2), (5, 3)]
        assert not found(ids)["owned"].any()
        channel.basic_qos(prefetch_count=2)
        tag = channel.basic_consume("left", lambda *_: None)
        # Each may yet come, and which they are nobody can tell.
        assert wait_for(lambda: len(found(ids)) == 5 and found(ids)["owned"].all(), TOLD_WITHIN_S)
        assert found(ids)["age_s"].tolist() == [0.0] * 5
        connection.process_data_events(1)
        channel.basic_cancel(tag)
        channel.close()
        # They stand where they stood, each once.
        assert wait_for(
            lambda: read(ids) == [(-1, -1), (5, 0), (5, 1), (5, 2), (5, 3)], TOLD_WITHIN_S
        )
        connection.channel().queue_delete("left")
    ids.close()


PAIR = r"event (?P<producer>\d+)-(?P<sequence>\d+)"
LISTED = {
    "held": [
        {"producer": 0, "sequence": 5, "owned": True, "age_s": 2},
        {"producer": 0, "sequence": 6},
        {"producer": "x", "sequence": 7},
    ],
    "n": 3,
}


@contextmanager
def served(page: str) -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_lists_them() -> None:
    with served(json.dumps(LISTED)) as url:
        table = {"kind": "http", "url": url, "pointer": "/n", "pending": {"pointer": "/held"}}
        ids = opened(table)
        assert read(ids) == [(-1, -1), (0, 5), (0, 6)]
        assert found(ids)["owned"].tolist() == [True, False, False]
        with pytest.raises(UsageError, match="names no list of objects"):
            opened({**table, "pending": {"pointer": "/n"}})()


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "redis", "keys": ["k"], "url": "redis://127.0.0.1:{port}/0", "pending": {}},
        {
            "kind": "sql",
            "query": "",
            "url": "postgresql://x@127.0.0.1:{port}/x",
            "pending": {"query": "select 1"},
        },
        {
            "kind": "kafka",
            "topic": "t",
            "group": "g",
            "address": "127.0.0.1:{port}",
            "pending": {"pattern": PAIR},
        },
        {"kind": "http", "url": "http://127.0.0.1:{port}/", "pointer": "", "pending": {}},
        {"kind": "amqp", "queues": ["q"], "url": "amqp://x:y@127.0.0.1:{port}/v", "pending": {}},
    ],
    ids=lambda table: str(table["kind"]),
)
def test_a_server_that_is_away_says_nothing(table: dict[str, Any]) -> None:
    ids = opened(table, port=str(free_port()))
    assert ids() is None
    ids.close()


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(", "is no regular expression"), (r"(\d+)", "has no group (?P<producer>...)")],
)
def test_a_pattern_that_finds_no_id_is_refused(pattern: str, said: str) -> None:
    table = {"kind": "redis", "keys": ["k"], "pending": {"pattern": pattern}}
    with pytest.raises(UsageError) as caught:
        queue_options("t", table)
    assert said in str(caught.value)


def test_where_only_a_length_is_read_no_event_is_claimed() -> None:
    assert queue_options("t", {"kind": "redis", "keys": ["k"]}).ids(str) is None

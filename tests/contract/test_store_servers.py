"""What stores with a server have alone, on real servers."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from select import select

import pytest
import trustme
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from lossmeter.errors import CollectError, UsageError
from lossmeter.record.arrays import UNDATED
from lossmeter.record.payloads import payload_hash
from lossmeter.world import http_client
from lossmeter.world.beginnings import differ
from tests.support.places import PLACES, Place
from tests.support.servers import Server
from tests.support.store_kinds import NUMBERS, collected, events, ids
from tests.support.stores import Kafka, Mysql, Postgres, Redis, Webhook, Written

pytestmark = pytest.mark.everywhere


def test_a_list_is_read_from_its_old_end(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "list")
    for record in (sent := events(2500)):
        written.client.lpush("kept", json.dumps(record))
    rows = collected(written.auditor(newest_first=True)).rows
    assert ids(rows) == [(r["producer"], r["sequence"]) for r in sent]
    assert rows["position"].tolist() == list(range(2500))


def test_a_key_of_another_type_is_named(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "list")
    written.client.sadd("kept", "x")
    with pytest.raises(UsageError, match=r"persisted.key: 'kept' is a set in Redis, not a list"):
        written.auditor().check()


def test_fields_of_a_stream_may_be_the_record(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "stream")
    for n in range(2500):
        written.client.xadd("kept", {"from": 1, "n": n, "text": "p"})
    auditor = written.auditor(field="", producer="from", sequence="n", payload="text")
    rows = collected(auditor).rows
    assert ids(rows) == [(1, n) for n in range(2500)]
    assert set(rows["payload_hash"].tolist()) == {payload_hash("p")}


def test_a_trimmed_stream_cannot_say_what_is_lost(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "stream")
    written.write(events(9))
    written.client.xtrim("kept", maxlen=5, approximate=False)
    with pytest.raises(CollectError, match=r"4 entries of 'kept' were trimmed or deleted"):
        collected(written.auditor())


def test_letters_and_pending_events_of_redis_are_read(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "set")
    written.write(events(1))
    written.client.sadd("dead", '{"producer": 5, "sequence": 6}')
    auditor = written.auditor(dead_letter_key="dead", pending_key="waiting")
    auditor.check()
    found = collected(auditor)
    assert (ids(found.rows), ids(found.dead_lettered)) == ([(0, 0)], [(5, 6)])
    assert len(found.pending) == 0


def test_members_of_a_set_that_grew_come_once_each(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "set")
    written.write(sent := events(20_000))
    assert Counter(ids(collected(written.auditor()).rows)) == Counter(
        (r["producer"], r["sequence"]) for r in sent
    )


def test_the_name_of_a_hash_may_be_the_record(tmp_path: Path, redis: Server) -> None:
    written = Redis(tmp_path, redis, "hash")
    written.write(events(5, producers=1))
    pattern = r"job:(?P<producer>\d+):(?P<sequence>\d+)"
    table = written.table() | {"record": "name", "pattern": pattern}
    del table["payload"]
    assert sorted(ids(collected(written.opened(table)).rows)) == [(0, n) for n in range(5)]


def test_a_receiver_answers_as_it_is_told(tmp_path: Path, webhook: Server) -> None:
    written = Webhook(tmp_path, webhook)
    auditor = written.auditor()

    def call(n: int) -> int | None:
        body = json.dumps({"producer": 0, "sequence": n, "payload": "p"}).encode()
        answer = http_client.ask(webhook.url + "/v1?x=y", 3, method="PUT", body=body)
        return answer.status if answer else None

    assert call(0) == 200
    written.command("behave", answer="refuse", every=2, status=429)
    assert [call(n) for n in (1, 2, 3, 4)] == [200, 429, 200, 429]
    written.command("behave", answer="away")
    assert call(5) is None
    written.command("behave", answer="slow", delay_s=0.3)
    begin = time.monotonic()
    assert call(6) == 200
    assert time.monotonic() - begin >= 0.3
    written.command("behave")
    assert call(7) == 200
    assert [sequence for _, sequence in ids(collected(auditor).rows)] == [0, 1, 3, 6, 7]


def test_a_receiver_takes_what_clients_send_and_nothing_of_strangers(
    tmp_path: Path, webhook: Server
) -> None:
    written = Webhook(tmp_path, webhook)
    host, _, port = webhook.address.partition(":")
    head = f"POST {webhook.url.partition(webhook.address)[2]} HTTP/1.1\r\nHost: x\r\n"
    parts = ['{"pro', 'ducer": 7, "sequence"', ": 8}", ""]
    body = "".join(f"{len(part):x};name=value\r\n{part}\r\n" for part in parts)
    with socket.create_connection((host, int(port)), 5) as wire:
        wire.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{body}".encode())
        assert wire.recv(99).startswith(b"HTTP/1.1 200 OK")
    for url in (webhook.url + "x", f"http://{webhook.address}/hook/", f"http://{webhook.address}/"):
        answer = http_client.ask(url, method="POST", body=b"{}")
        assert answer is not None
        assert answer.status == 404
    assert ids(collected(written.auditor()).rows) == [(7, 8)]


def test_a_topic_of_several_partitions_is_read_whole(tmp_path: Path, kafka: Server) -> None:
    written = Kafka(tmp_path, kafka, f"kept-{next(NUMBERS)}")
    written.create(partitions=3, stamp="CreateTime")
    written.write(sent := events(2500))
    auditor = written.auditor()
    # Nobody knows in which order partitions were written, nor when a producer's time was.
    assert not auditor.check().position
    rows = collected(auditor).rows
    assert Counter(ids(rows)) == Counter((r["producer"], r["sequence"]) for r in sent)
    assert set(rows["persisted_ns"].tolist()) == {UNDATED}


def test_a_transaction_that_was_taken_back_is_not_read(tmp_path: Path, kafka: Server) -> None:
    written = Kafka(tmp_path, kafka, f"kept-{next(NUMBERS)}")
    written.create()
    producer = Producer({**written.login, "transactional.id": "of-the-test"})
    producer.init_transactions(20)
    for number, end in enumerate((producer.abort_transaction, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(written.topic, json.dumps({"producer": number, "sequence": 0}))
        producer.flush(20)
        end(20)
    assert ids(collected(written.auditor()).rows) == [(1, 0)]


def test_a_topic_that_lost_its_beginning_cannot_say_what_is_lost(
    tmp_path: Path, kafka: Server
) -> None:
    written = Kafka(tmp_path, kafka, f"kept-{next(NUMBERS)}")
    written.create()
    written.write(events(9))
    beginning = TopicPartition(written.topic, 0, 4)
    admin = AdminClient(written.login)
    for removed in admin.delete_records([beginning]).values():
        removed.result(20)
    with pytest.raises(CollectError, match=r"the first 4 messages of partition 0"):
        collected(written.auditor())


databases = pytest.mark.parametrize(
    "absent", ["sqlite", *(f"mysql-{place}" for place in PLACES)], indirect=True
)


@databases
def test_columns_that_are_needed_are_named(written: Written) -> None:
    for query, said in (
        ("select producer from kept", "persisted.query must return the column 'sequence'"),
        ("select * from nowhere", "persisted.query is not a query that works: "),
        ("drop table kept", "persisted.query is not a query that works: "),
    ):
        with pytest.raises(UsageError) as caught:
            written.auditor(query=query).check()
        assert said in str(caught.value)
    with pytest.raises(UsageError, match="count_query must return one whole number"):
        written.auditor(count_query="select 'many'").check()


@databases
def test_letters_and_pending_events_are_read(written: Written) -> None:
    written.write(events(6))
    of = "select producer, sequence from kept where producer = {}"
    auditor = written.auditor(
        query=of.format(0), dead_letter_query=of.format(1), pending_query=of.format(2)
    )
    auditor.check()
    found = collected(auditor)
    assert ids(found.rows) == [(0, 0), (0, 1)]
    assert ids(found.dead_lettered) == [(1, 0), (1, 1)]
    assert ids(found.pending) == [(2, 0), (2, 1)]


def test_mysql_numbers_that_nobody_mints(tmp_path: Path, mariadb: Server) -> None:
    written = Mysql(tmp_path, mariadb)
    values = ("1.5", "-1e300", "99999999999999999999", "null", "18446744073709551615", "2.0", "2")
    union = " union all ".join(f"select {value} as producer, 7 as sequence" for value in values)
    rows = collected(written.auditor(query=union)).rows
    assert rows["producer"].tolist() == [-1, -1, -1, -1, -1, 2, 2]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("date'2026-11-29' as producer, 1 as sequence", "'producer' as DATE; it must be a whole n"),
        (
            "1 as producer, 1 as sequence, '2026-11-29 15:00:00' as persisted_at",
            "'persisted_at' as VARCHAR; it must be a date with its time, or seconds since 1970",
        ),
        (
            "1 as producer, 1 as sequence, current_date as persisted_at",
            "'persisted_at' as DATE; it must be a date with its time",
        ),
        ("1 as producer, 1 as sequence, 1 as payload", "'payload' as LONG"),
    ],
)
def test_mysql_columns_of_another_type_are_refused(
    tmp_path: Path, mariadb: Server, columns: str, said: str
) -> None:
    auditor = Mysql(tmp_path, mariadb).auditor(query=f"select {columns}")
    with pytest.raises(UsageError, match=f"persisted.query returns {said}"):
        auditor.check()


def test_mysql_times_come_in_utc_whatever_the_zone(tmp_path: Path, mariadb: Server) -> None:
    written = Mysql(tmp_path, mariadb)
    for column in ("timestamp'2026-11-29 15:00:00.25'", "1795964400.25"):
        query = f"select 1 as producer, 1 as sequence, {column} as persisted_at"
        (row,) = collected(written.auditor(query=query)).rows
        assert row["persisted_ns"] == 1_795_964_400_250_000_000


def test_mysql_rows_stay_at_the_server_until_they_are_wanted(
    tmp_path: Path, mariadb: Server
) -> None:
    written = Mysql(tmp_path, mariadb)
    query = (
        "select 1 as producer, seq as sequence, repeat('x', 500) as payload from seq_1_to_100000"
    )
    auditor = written.auditor(query=query)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(collected(auditor).rows) == 100_000
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 40, "all of them are more than 50 MiB"


class Front:
    """TLS in front of a PostgreSQL, whose own build here has none: it ends where this begins."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.partition(":")
        self._upstream, authority = (host, int(port)), trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)
        self.pem = authority.cert_pem.bytes()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                wire, _ = self.listener.accept()
                threading.Thread(target=self._carry, args=(wire,), daemon=True).start()

    def _carry(self, wire: socket.socket) -> None:
        with wire, socket.create_connection(self._upstream) as server:
            assert wire.recv(8) == bytes.fromhex("00000008 04d2162f"), "an SSLRequest"
            wire.sendall(b"S")
            with suppress(OSError), self.context.wrap_socket(wire, server_side=True) as client:
                while True:
                    # What was decrypted already is no longer seen at the socket.
                    ready = [client] if client.pending() else select([client, server], [], [])[0]
                    for one, other in ((client, server), (server, client)):
                        if one in ready:
                            if not (data := one.recv(1 << 14)):
                                return
                            other.sendall(data)


def test_postgres_is_read_behind_tls(tmp_path: Path, postgres: Server) -> None:
    written = Postgres(tmp_path, postgres)
    written.write(sent := events(3000))
    front = Front(postgres.address)
    (tmp_path / "ca.pem").write_bytes(front.pem)
    url = postgres.url.replace(postgres.address, front.address)
    asked = f"sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}&channel_binding=disable"
    auditor = written.auditor(database=f"{url}?{asked}")
    assert auditor.check().persisted_at
    assert ids(collected(auditor).rows) == [(r["producer"], r["sequence"]) for r in sent]
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    with pytest.raises(UsageError, match=r"persisted.database cannot be reached: .*certificate"):
        auditor.check()
    front.listener.close()


@pytest.mark.parametrize("kind", ["postgres", "redis", "mariadb"])
def test_a_server_that_was_restarted_says_so(tmp_path: Path, place: Place, kind: str) -> None:
    kinds = {"postgres": Postgres, "mariadb": Mysql}
    server = place(kind)
    written = Redis(tmp_path, server, "list") if kind == "redis" else kinds[kind](tmp_path, server)
    auditor = written.auditor()
    before, again = auditor.began(), auditor.began()
    assert before is not None
    assert again is not None
    assert not differ(before, again)
    # MariaDB tells whole seconds, some of which it must have served.
    time.sleep(3.5 if kind == "mariadb" else 0)
    place.kill(kind)
    assert auditor.began() is None
    place.start_again(kind)
    now = auditor.began()
    assert now is not None
    assert differ(before, now)

"""One contract for every server: whatever is in ``harness/services`` is tested here."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from harness.errors import ServiceError
from harness.model import Address
from harness.ownership import MARK
from harness.ports import LOOPBACK, free_port
from harness.service import ProcessSpec, Service, Slot, renew
from harness.services import discover
from harness.services.toxiproxy import Proxies
from harness.site import Toxic

T = TypeVar("T")
PASSWORD = "a-Password_of-24-letters"
OWNER = "owner-of-a-test"
READY_S = 30.0
NAMES = sorted(discover())


def loopback() -> Address:
    return Address(LOOPBACK, free_port())


def has_ended(process: psutil.Process) -> bool:
    try:
        # Whoever inherits orphans may take seconds to notice that they ended.
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass
class Server:
    """One server in a folder of its own, as a runtime would run it."""

    service: Service
    slot: Slot
    user: pwd.struct_passwd | None
    process: subprocess.Popen[bytes] | None = None

    def popen(self, spec: ProcessSpec) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            spec.argv,
            env={"PATH": os.environ["PATH"], MARK: OWNER, **spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.slot.folder,
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
            start_new_session=True,
        )

    def run(self, spec: ProcessSpec) -> None:
        assert self.popen(spec).wait(60) == 0, spec.argv

    def start(self) -> None:
        self.process = self.popen(self.service.process(self.slot))
        deadline = time.monotonic() + READY_S
        while not self.service.ready(self.slot):
            assert self.process.poll() is None, "it ended while it was starting"
            assert time.monotonic() < deadline, "it was not ready in time"
            time.sleep(0.05)

    def stop(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def kill(self) -> None:
        family = self.family()
        assert self.process is not None
        self.process.kill()
        assert self.process.wait() == -9
        # PostgreSQL refuses to start again while its orphans hold the shared memory.
        deadline = time.monotonic() + 10
        while not all(has_ended(process) for process in family):
            assert time.monotonic() < deadline, "its children outlive it"
            time.sleep(0.005)

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def in_each_process(self, look: Callable[[psutil.Process], Iterable[T]]) -> set[T]:
        seen: set[T] = set()
        for process in self.family():
            # PostgreSQL's workers come and go.
            with suppress(psutil.NoSuchProcess):
                seen.update(look(process))
        return seen

    @property
    def variables(self) -> dict[str, str]:
        return self.service.variables(self.slot, self.slot.listen)


@contextmanager
def prepared(name: str, advertised: Address | None = None) -> Iterator[Server]:
    service = discover()[name]
    service.install(lambda _: None)
    steps_down = service.unprivileged and os.geteuid() == 0
    user = pwd.getpwnam("nobody") if steps_down else None
    # Not pytest's folder, which other users cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="lossmeter-test-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    listen = loopback()
    server = Server(service, Slot(folder, listen, advertised or listen, PASSWORD), user)
    try:
        service.prepare(server.slot, server.run)
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=NAMES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with prepared(request.param) as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def toxiproxy() -> Iterator[Server]:
    with prepared("toxiproxy") as server:
        server.start()
        yield server


# What every server must do.


def test_it_is_installed_and_says_what_it_is(server: Server) -> None:
    name, _, version = server.service.version().rpartition(" ")

    assert server.service.missing() is None
    assert name
    assert version.replace(".", "").isdigit()


def test_it_says_where_it_is(server: Server) -> None:
    variables = server.variables

    assert variables["address"] == f"{variables['host']}:{variables['port']}"
    assert variables["address"] == str(server.slot.listen)
    assert variables["password"] in {PASSWORD, ""}
    if "url" in variables:
        assert variables["address"] in variables["url"]


def test_a_wrong_password_is_refused(server: Server) -> None:
    wrong = replace(server.slot, password=PASSWORD + "x")

    assert server.service.ready(server.slot)
    assert server.service.ready(wrong) is (server.variables["password"] == "")


def test_nothing_listens_beyond_the_loopback(server: Server) -> None:
    sockets = server.in_each_process(lambda process: process.net_connections("inet"))
    open_at = {socket.laddr for socket in sockets if socket.status != psutil.CONN_ESTABLISHED}

    assert server.slot.listen.port in {port for _, port in open_at}
    # Java opens sockets that can do both versions of IP.
    assert {ip.removeprefix("::ffff:") for ip, _ in open_at} == {"127.0.0.1"}


def test_the_password_is_in_private_files_only(server: Server) -> None:
    told = server.in_each_process(lambda process: process.cmdline())
    told |= server.in_each_process(lambda process: process.environ().values())
    files = [path for path in server.slot.folder.rglob("*") if path.is_file()]
    open_files = [path for path in files if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]

    assert not any(PASSWORD in word for word in told)
    assert not any(PASSWORD.encode() in path.read_bytes() for path in open_files)
    assert stat.S_IMODE(server.slot.folder.stat().st_mode) == 0o700


def test_the_mark_of_its_owner_can_be_read_as_long_as_it_runs(server: Server) -> None:
    # By it alone a server is found after the harness was killed.
    assert server.process is not None
    assert psutil.Process(server.process.pid).environ()[MARK] == OWNER


# What a server that persists must keep.


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


KEEPERS: dict[str, tuple[Callable[[Server, str], None], Callable[[Server], list[str]]]] = {
    "postgres": (postgres_write, postgres_read),
    "redis": (redis_write, redis_read),
    "kafka": (kafka_write, kafka_read),
}


def test_every_server_is_said_to_keep_its_data_or_not() -> None:
    assert {*KEEPERS, "toxiproxy"} == set(NAMES)


def test_it_stops_by_its_signal_and_starts_again_with_its_data(server: Server) -> None:
    spec = server.service.process(server.slot)
    write, read = KEEPERS.get(server.service.name, (lambda _, __: None, lambda _: ["a", "b"]))

    write(server, "a")
    # A Java program says 128 + 15 when SIGTERM ended it in good order.
    assert server.stop(spec.stop_signal) in {0, 143}
    assert not server.service.ready(server.slot)
    server.start()
    write(server, "b")
    server.kill()
    server.start()

    assert read(server) == ["a", "b"]


# What a server that serves one run after the other must let go of.


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
    proxies = Proxies(server.slot.listen)
    proxies.create("left", loopback(), server.slot.listen)
    proxies.add("left", Toxic("slow", "latency", attributes={"latency": 300, "jitter": 0}))


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


SPOILT: dict[str, tuple[Callable[[Server], None], str]] = {
    "postgres": (
        postgres_spoil,
        r"still has role intruder .*, still has setting of the file fsync =",
    ),
    "redis": (redis_spoil, r"still has setting appendfsync = no, still has user intruder \("),
    "kafka": (kafka_spoil, r"still has setting log.retention.ms = 1"),
}


@pytest.mark.parametrize("name", sorted(SPOILT))
def test_what_emptying_does_not_undo_is_told(name: str) -> None:
    spoil, told = SPOILT[name]
    with prepared(name) as server:
        server.start()
        as_new = server.service.contents(server.slot)
        spoil(server)
        with pytest.raises(ServiceError, match=told) as caught:
            renew(server.service, server.slot, as_new)
        assert f"{name}, emptied, is not as when it was new" in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_a_server_that_is_gone_cannot_be_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.service.ANSWERS_WITHIN_S", 0.2)
    with prepared("redis") as server:
        server.start()
        as_new = server.service.contents(server.slot)
        server.kill()
        with pytest.raises(ServiceError, match="redis does not serve any more"):
            renew(server.service, server.slot, as_new)


# What is particular to one server.


def test_kafka_has_a_way_around_a_proxy() -> None:
    nobody_listens_here = loopback()
    with prepared("kafka", nobody_listens_here) as kafka:
        kafka.start()
        through = kafka.service.variables(kafka.slot, kafka.slot.advertised)
        around = kafka.service.variables(kafka.slot, kafka.slot.listen)

        # Whether it serves does not depend on who listens in front of it.
        assert all(kafka.service.ready(kafka.slot) for _ in range(20))
        told = AdminClient(kafka_client(around)).list_topics(timeout=10).brokers[1]
        assert through["address"] == str(nobody_listens_here)
        assert around["address"] == f"{told.host}:{told.port}"
        kafka_write(kafka, "arrived")
        assert kafka_read(kafka) == ["arrived"]


# What commands the proxy.


@contextmanager
def echo() -> Iterator[Address]:
    """A server that answers one connection after the other with what it got."""
    script = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    c, _ = s.accept()\n"
        "    while data := c.recv(99):\n"
        "        c.sendall(data)\n"
    )
    with subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Address("127.0.0.1", int(process.stdout.readline()))
        process.kill()


def round_trip_s(address: Address) -> float:
    with socket.create_connection((address.host, address.port), timeout=5) as client:
        begin = time.monotonic()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        return time.monotonic() - begin


def test_a_proxy_can_be_made_disturbed_closed_and_removed(toxiproxy: Server) -> None:
    proxies = Proxies(toxiproxy.slot.listen)
    with echo() as upstream:
        front = loopback()
        proxies.create("echo", front, upstream)
        before = round_trip_s(front)
        proxies.add("echo", Toxic("slow", "latency", attributes={"latency": 300, "jitter": 0}))
        state = proxies.list()["echo"]
        during = round_trip_s(front)
        proxies.lift("echo", "slow")
        after = round_trip_s(front)

        assert (state.listen, state.upstream, state.enabled) == (str(front), str(upstream), True)
        assert [(toxic.name, toxic.attributes["latency"]) for toxic in state.toxics] == [
            ("slow", 300)
        ]
        assert before < 0.2
        assert during >= 0.3
        assert after < 0.2

        proxies.disable("echo")
        assert not proxies.list()["echo"].enabled
        with pytest.raises(ConnectionRefusedError):
            round_trip_s(front)
        proxies.enable("echo")
        assert round_trip_s(front) < 0.2
        proxies.remove("echo")
        assert proxies.list() == {}


def test_what_toxiproxy_refuses_is_an_error(toxiproxy: Server) -> None:
    proxies = Proxies(toxiproxy.slot.listen)
    taken = toxiproxy.slot.listen
    proxies.create("one", loopback(), taken)
    with ExitStack() as stack:
        stack.callback(proxies.remove, "one")

        with pytest.raises(ServiceError, match=r"refused post /proxies: .*already exists"):
            proxies.create("one", loopback(), taken)
        with pytest.raises(
            ServiceError, match=r"failed at post /proxies: .*address already in use"
        ):
            proxies.create("two", taken, taken)
        with pytest.raises(ServiceError, match=r"refused post .*invalid toxic type"):
            proxies.add("one", Toxic("odd", "no-such-toxic"))
        for ask in (proxies.disable, proxies.enable, proxies.remove):
            with pytest.raises(ServiceError, match="proxy not found"):
                ask("three")
        with pytest.raises(ServiceError, match="toxic not found"):
            proxies.lift("one", "none")


def test_two_toxiproxies_are_not_mixed_up(toxiproxy: Server) -> None:
    with prepared("toxiproxy") as other:
        other.start()
        first, second = Proxies(toxiproxy.slot.listen), Proxies(other.slot.listen)
        first.create("first", loopback(), loopback())
        second.create("second", loopback(), loopback())

        assert [*first.list()] == ["first"]
        assert [*second.list()] == ["second"]
        first.remove("first")


def test_a_toxiproxy_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.services.toxiproxy._COMMAND_S", 0.2)
    # It would be asked to reach our own machine for us.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxies = Proxies(Address(*silent.getsockname()))
        with pytest.raises(ServiceError, match="did not answer get /proxies: ReadTimeout"):
            proxies.list()
    with pytest.raises(ServiceError, match="did not answer get /proxies: ConnectionError"):
        Proxies(loopback()).list()


# The room as a whole.


def test_looking_through_the_servers_loads_nothing_heavy() -> None:
    script = (
        "import sys; from harness.services import discover; discover()\n"
        "heavy = {'psycopg', 'redis', 'confluent_kafka', 'requests', 'jgo', 'toxiproxy'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_installing_again_takes_no_time() -> None:
    for service in discover().values():
        service.install(lambda _: None)
    begin = time.monotonic()
    command = (sys.executable, "-m", "harness.services")
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    # Far less on an idle machine.
    assert time.monotonic() - begin < 5
    assert all(service.version() in done.stderr for service in discover().values())

"""One contract for every server: whatever is in ``lossmeter.world.services`` is tested here."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
)

from lossmeter.world.install import cache
from lossmeter.world.ownership import MARK
from lossmeter.world.services import discover
from tests.support.service_clients import KEEPERS, kafka_client, kafka_read, kafka_write
from tests.support.started import NAMES, OWNER, PASSWORD, Server, loopback, prepared


@pytest.fixture(scope="module", params=NAMES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with prepared(request.param) as server:
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
    assert not server.service.ready(wrong)


def test_nothing_listens_beyond_the_loopback(server: Server) -> None:
    def open_now() -> set[tuple[str, int]]:
        sockets = server.in_each_process(lambda process: process.net_connections("inet"))
        return {socket.laddr for socket in sockets if socket.status != psutil.CONN_ESTABLISHED}

    # Erlang binds a datagram socket for the moment that asking the host's name takes, and asks
    # again and again while it starts: what is open at each look stays open.
    open_at = open_now()
    for _ in range(5):
        time.sleep(0.2)
        open_at &= open_now()

    assert server.slot.listen.port in {port for _, port in open_at}
    # Java opens sockets that can do both versions of IP.
    assert {ip.removeprefix("::ffff:") for ip, _ in open_at} == {"127.0.0.1"}


def test_the_password_is_in_private_files_only(server: Server) -> None:
    reported = server.in_each_process(lambda process: process.cmdline())
    reported |= server.in_each_process(lambda process: process.environ().values())
    files = [path for path in server.slot.folder.rglob("*") if path.is_file()]
    open_files = [path for path in files if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]

    assert not any(PASSWORD in word for word in reported)
    assert not any(PASSWORD.encode() in path.read_bytes() for path in open_files)
    assert stat.S_IMODE(server.slot.folder.stat().st_mode) == 0o700


def test_the_mark_of_its_owner_can_be_read_as_long_as_it_runs(server: Server) -> None:
    # By it alone a server is found after the harness was killed.
    assert server.process is not None
    assert psutil.Process(server.process.pid).environ()[MARK] == OWNER


# What a server that persists must keep.


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


# What is particular to one server.


def test_kafka_has_a_way_around_a_proxy() -> None:
    nobody_listens_here = loopback()
    with prepared("kafka", nobody_listens_here) as kafka:
        kafka.start()
        through = kafka.service.variables(kafka.slot, kafka.slot.advertised)
        around = kafka.service.variables(kafka.slot, kafka.slot.listen)

        # Whether it serves does not depend on who listens in front of it.
        assert all(kafka.service.ready(kafka.slot) for _ in range(20))
        reported = AdminClient(kafka_client(around)).list_topics(timeout=10).brokers[1]
        assert through["address"] == str(nobody_listens_here)
        assert around["address"] == f"{reported.host}:{reported.port}"
        kafka_write(kafka, "arrived")
        assert kafka_read(kafka) == ["arrived"]


@pytest.mark.parametrize("server", ["rabbitmq"], indirect=True)
def test_rabbitmq_starts_no_daemon_of_erlang_s(server: Server) -> None:
    family = server.in_each_process(lambda process: [process.name()])
    marked = {each.name() for each in psutil.process_iter() if mark_of(each) == OWNER}
    assert "beam.smp" in family & marked
    assert "epmd" not in family | marked


def mark_of(process: psutil.Process) -> str:
    try:
        return str(process.environ().get(MARK, ""))
    except psutil.Error:
        return ""


# The room as a whole.


def test_looking_through_the_servers_loads_nothing_heavy() -> None:
    script = (
        "import sys; from lossmeter.world.services import discover; discover()\n"
        "heavy = {'psycopg', 'redis', 'confluent_kafka', 'requests', 'toxiproxy'}\n"
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
    command = (sys.executable, "-m", "lossmeter.world.services")
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    # Far less on an idle machine.
    assert time.monotonic() - begin < 5
    assert all(service.version() in done.stderr for service in discover().values())


def test_kafka_starts_from_a_cache_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = discover()["kafka"]
    assert kafka.missing() is None
    odd = tmp_path / "uml äü, comma:colon;x"
    for entry in cache.cache_root().glob("kafka-*"):
        # Links of files, so that Java sees no other path of them.
        shutil.copytree(entry, odd / entry.name, copy_function=_linked)
    monkeypatch.setenv(cache.VARIABLE, str(odd))
    assert kafka.missing() is None
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with prepared("kafka") as server:
        assert server.slot.folder.is_relative_to(odd)
        server.start()
        kafka_write(server, "arrived")
        assert kafka_read(server) == ["arrived"]


def _linked(of: str, to: str) -> None:
    try:
        os.link(of, to)
    except OSError:
        shutil.copy2(of, to)

"""One contract for every runtime that this machine can offer, on a real target.

start, ready, kill, restart, logs, a helper process, and nothing left at the end.
"""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import psycopg
import pytest

from lossmeter.errors import FaultError, ServiceError, TargetError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.runtime import Runtime, in_service
from lossmeter.world.runtimes._disks import mounts
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.site import (
    Killable,
    MemoryLimited,
    Pausable,
    PowerCut,
    Replaceable,
    Rolling,
    ServersKillable,
    Startable,
    Stoppable,
)
from tests.support.sites import RUN, Shared, Up, assert_nothing_to_recover, up_on

SIGKILL = 9
MIB = 2**20


@pytest.fixture(scope="module")
def shared(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    del runtime
    shared = Shared(lambda: tmp_path_factory.mktemp("site"))
    yield shared
    shared.close()


@pytest.fixture
def up(runtime: Runtime, shared: Shared) -> Up:
    """A site that is up.

    Tests that kill stand between tests that replace: a kubelet makes who is killed twice wait.
    """
    return shared.up(runtime, Catalogue.here().target("channel"))


def test_a_target_is_up_when_the_site_is(up: Up) -> None:
    sample = up.probe.wait_for(lambda s: s.ok, 5)
    assert sample is not None
    assert sample.queue_length == 0
    assert len(sample.boot_id) == 32
    up.site.check()


def test_settings_reach_the_target_and_the_database_is_behind_the_proxy(up: Up) -> None:
    endpoint = up.site.endpoints["postgres"]
    assert endpoint.variables["port"] != endpoint.direct["port"]
    assert endpoint.variables["password"] == endpoint.direct["password"]
    assert endpoint.outside.port == int(endpoint.direct["port"])


def test_a_killed_target_is_gone_at_once_and_comes_back_as_another_lifetime(
    runtime: Runtime, up: Up
) -> None:
    assert {Killable, Startable} <= runtime.capabilities(Catalogue.here().target("channel"))
    site = up.site
    assert isinstance(site, Killable)
    before = site.incarnation()
    first = up.probe.wait_for(lambda s: s.ok, 5)
    ended = site.kill()
    assert (ended.signal, ended.code) == (SIGKILL, 128 + SIGKILL)
    assert up.probe.wait_for(lambda s: not s.ok, 5) is not None
    up.site.check()
    after = site.start()
    assert (after.pid, after.start_ticks) != (before.pid, before.start_ticks)
    again = up.probe.wait_for(lambda s: s.ok, 5)
    assert first is not None
    assert again is not None
    assert again.boot_id != first.boot_id


def test_a_stop_with_grace_lets_the_target_end_by_itself(up: Up) -> None:
    site = up.site
    assert isinstance(site, Stoppable)
    stopped = site.stop(10)
    # Today's shutdown: SIGTERM, then 2 s of sleep.
    assert stopped.killed_ns is None
    assert stopped.exit.code == 0
    assert 1.5e9 < stopped.exit.at_ns - stopped.asked_ns < 8e9
    up.site.check()
    site.start()
    assert up.probe.wait_for(lambda s: s.ok, 5) is not None


def test_the_address_stays_the_same_over_a_restart(up: Up) -> None:
    site, before = up.site, up.site.base_url
    assert isinstance(site, Killable)
    site.kill()
    site.start()
    assert site.base_url == before
    assert up.probe.wait_for(lambda s: s.ok, 5) is not None


def test_a_stop_without_grace_is_sigterm_and_then_sigkill(
    runtime: Runtime, tmp_path: Path, pool: ServerPool
) -> None:
    target = Catalogue.here().target("channel")
    # A kubelet gives 2 s whatever is asked: this one needs more.
    with up_on(runtime, tmp_path, target, pool=pool, DISPATCHER_SHUTDOWN__SLEEP_S="30") as up:
        site = up.site
        assert isinstance(site, Stoppable)
        assert isinstance(site, Startable)
        stopped = site.stop(0)
        assert stopped.killed_ns is not None
        assert stopped.asked_ns <= stopped.killed_ns
        assert (stopped.exit.signal, stopped.exit.code) == (SIGKILL, 128 + SIGKILL)
        site.start()
        assert up.probe.wait_for(lambda s: s.ok, 5) is not None


def test_a_target_that_ends_by_itself_is_noticed(up: Up, runtime: Runtime) -> None:
    del runtime
    site = up.site
    assert isinstance(site, Killable)
    site.kill()
    site.start()
    up.site.check()
    # Killed behind the runtime's back: nobody asked for it.
    import psutil

    psutil.Process(site.incarnation().pid).kill()
    time.sleep(0.3)
    with pytest.raises(TargetError, match="which no fault asked for"):
        up.site.check()


def test_a_paused_target_is_silent_and_goes_on_in_the_same_lifetime(up: Up) -> None:
    site = up.site
    assert isinstance(site, Pausable)
    before = site.incarnation()
    site.pause()
    assert up.probe.wait_for(lambda s: not s.ok, 10) is not None
    site.resume()
    site.resume()
    again = up.probe.wait_for(lambda s: s.ok, 10)
    assert again is not None
    assert site.incarnation() == before
    up.site.check()


def test_the_kernel_holds_the_target_to_a_memory_limit(runtime: Runtime, up: Up) -> None:
    target = Catalogue.here().target("channel")
    assert MemoryLimited in runtime.capabilities(target), "run the tests where groups can be made"
    site = up.site
    assert isinstance(site, MemoryLimited)
    before = site.memory()
    assert before.used_bytes > 10 * MIB
    site.limit_memory(before.used_bytes // MIB * MIB + 128 * MIB)
    assert site.memory().limit_bytes == before.used_bytes // MIB * MIB + 128 * MIB
    assert site.wait_exit(0.2) is None
    site.limit_memory(None)
    assert site.memory().limit_bytes == before.limit_bytes


def test_a_target_over_its_limit_is_killed_by_the_kernel(up: Up) -> None:
    site = up.site
    assert isinstance(site, MemoryLimited)
    before = site.memory()
    site.limit_memory(before.used_bytes + 4 * MIB)
    filler = overfill(up)
    ended = site.wait_exit(30)
    filler.join()
    assert ended is not None
    assert ended.code == 128 + SIGKILL
    assert site.memory().oom_kills > before.oom_kills
    up.site.check()
    site.limit_memory(None)
    site.start()
    assert up.probe.wait_for(lambda s: s.ok, 5) is not None


def overfill(up: Up) -> threading.Thread:
    """Send the target more than it has memory for, from a thread."""

    event = '{"producer": 0, "sequence": %d, "payload": "' + "x" * MIB + '"}'
    body = "[" + ",".join(event % sequence for sequence in range(40)) + "]"
    request = urllib.request.Request(f"{up.site.base_url}/events", body.encode())

    def fill() -> None:
        with suppress(OSError, HTTPException):
            urllib.request.urlopen(request, timeout=10).close()

    thread = threading.Thread(target=fill)
    thread.start()
    return thread


def test_a_replaced_target_is_another_one_in_the_same_place(up: Up) -> None:
    site = up.site
    assert isinstance(site, Replaceable)
    before, first = site.incarnation(), up.probe.wait_for(lambda s: s.ok, 5)
    stopped = site.replace(10)
    assert stopped.exit.code == 0
    assert site.incarnation() != before
    again = up.probe.wait_for(lambda s: s.ok, 5)
    assert first is not None
    assert again is not None
    assert again.boot_id != first.boot_id
    assert "shutting down" in (up.folder / "logs" / "target.log").read_text()


def test_a_killed_server_comes_back_with_its_data_at_its_address(up: Up) -> None:
    site = up.site
    assert isinstance(site, ServersKillable)
    url = up.site.endpoints["postgres"].direct["url"]
    with psycopg.connect(url) as connection:
        connection.execute("create table kept (n int)")
    before = site.server_lifetime("postgres")
    assert site.kill_server("postgres").code == 128 + SIGKILL
    up.site.check()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)
    site.start_server("postgres")
    after = site.server_lifetime("postgres")
    assert (after.pid, after.start_ticks) != (before.pid, before.start_ticks)
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)
    up.site.check()


def test_a_disk_that_loses_power_keeps_what_was_flushed_and_nothing_else(
    runtime: Runtime, tmp_path: Path
) -> None:
    target = Catalogue.here().target("channel")
    if PowerCut not in runtime.capabilities(target):
        pytest.skip(str(PowerCut.__doc__).partition("\n")[0])
    with up_on(runtime, tmp_path, target, disks=frozenset({"postgres"})) as up:
        site, url = up.site, up.site.endpoints["postgres"].direct["url"]
        assert isinstance(site, PowerCut)
        whole = site.disk("postgres")
        assert whole.device.startswith("/dev/loop")
        assert (whole.shut_down, whole.refused) == (False, "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create table kept (n int)")
            connection.execute("insert into kept values (1)")
        point = next(mount.point for mount in mounts() if mount.device == whole.device)
        # Never synchronised: in the kernel's memory, and not on the disk.
        (point / "unflushed").write_text("gone with the power")
        site.kill_server("postgres")
        site.cut_power("postgres")
        dead = site.disk("postgres")
        assert dead.shut_down
        assert dead.refused
        site.restore_power("postgres")
        site.restore_power("postgres")
        site.start_server("postgres")
        with psycopg.connect(url) as connection:
            assert connection.execute("select count(*) from kept").fetchone() == (1,)
        left = point / "unflushed"
        # Its name may have been flushed along with the database's, its content was not.
        assert not left.exists() or not left.read_bytes()
    assert_nothing_to_recover(runtime)
    assert not [m for m in mounts() if RUN in str(m.point)]


def test_a_server_without_a_disk_of_its_own_cannot_lose_power(up: Up, runtime: Runtime) -> None:
    site = up.site
    if PowerCut not in runtime.capabilities(Catalogue.here().target("channel")):
        pytest.skip(str(PowerCut.__doc__).partition("\n")[0])
    assert isinstance(site, PowerCut)
    with pytest.raises(FaultError, match="server postgres has no disk of its own"):
        site.cut_power("postgres")


def test_instances_serve_side_by_side_and_are_replaced_in_turn(
    runtime: Runtime, tmp_path: Path, pool: ServerPool
) -> None:
    target = Catalogue.here().target("channel")
    if Rolling not in runtime.capabilities(target):
        pytest.skip(str(Rolling.__doc__).partition("\n")[0])
    with up_on(
        runtime,
        tmp_path,
        target,
        instances=2,
        grace_s=10,
        pre_stop_s=0.2,
        pool=pool,
        DISPATCHER_SHUTDOWN__SLEEP_S="0.2",
    ) as up:
        site = up.site
        assert isinstance(site, Rolling)
        addresses = [url.removeprefix("http://") for url in site.base_urls]
        assert len(set(addresses)) == 2
        assert sorted(in_service(tmp_path).read_text().split()) == sorted(addresses)
        first = up.probe.wait_for(lambda s: s.boot_id.count("+") == 1, 5)
        assert first is not None
        rolled = site.roll_out(0.2, 10)
        assert [one.stopped.exit.code for one in rolled] == [0, 0]
        assert all(one.before.pid != one.after.pid for one in rolled)
        # New pods of a cluster have new addresses; elsewhere they stay.
        serving = in_service(tmp_path).read_text().split()
        assert len(set(serving)) == 2
        assert set(serving) <= {url.removeprefix("http://") for url in site.base_urls}
        after = up.probe.wait_for(lambda s: s.boot_id.count("+") == 1, 5)
        assert after is not None
        assert not set(first.boot_id.split("+")) & set(after.boot_id.split("+"))
        up.site.check()
    assert (tmp_path / "logs" / "target-1.log").exists()


def test_what_the_target_writes_into_the_run_folder_is_there(
    runtime: Runtime, tmp_path: Path, pool: ServerPool
) -> None:
    target = Catalogue.here().target("channel")
    assert target.start is not None
    script = "echo written > {run_folder}/mark; exec {python} -m lossmeter_dispatcher"
    start = target.start.model_copy(update={"command": ("/bin/sh", "-c", script)})
    with up_on(runtime, tmp_path, target.model_copy(update={"start": start}), pool=pool):
        assert (tmp_path / "target" / "mark").read_text() == "written\n"


def test_each_server_has_a_log_in_the_run_folder(up: Up) -> None:
    for name in ("postgres", "toxiproxy", "target"):
        assert (up.folder / "logs" / f"{name}.log").exists()
    assert "database system is ready" in (up.folder / "logs" / "postgres.log").read_text()


def test_a_helper_process_runs_and_can_be_ended(up: Up) -> None:
    helper = up.site.helper("load", ["/bin/sh", "-c", "echo hello; sleep 60"], {})
    log = up.folder / "logs" / "load.log"
    deadline = time.monotonic() + 5
    while "hello" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.read_text() == "hello\n"
    assert helper.poll() is None
    helper.kill()
    assert helper.poll() is not None


def test_nothing_is_left_at_the_end(runtime: Runtime, tmp_path: Path) -> None:
    target = Catalogue.here().target("redis")
    with up_on(runtime, tmp_path, target) as up:
        addresses = [endpoint.outside for endpoint in up.site.endpoints.values()]
        port = int(up.site.base_url.rpartition(":")[2])
    for host, number in [("127.0.0.1", port), *((a.host, a.port) for a in addresses)]:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((host, number), 1)
    assert_nothing_to_recover(runtime)


def test_everything_listens_on_the_loopback_only(
    runtime: Runtime, tmp_path: Path, pool: ServerPool
) -> None:
    import psutil

    with up_on(runtime, tmp_path, Catalogue.here().target("redis"), pool=pool) as up:
        ports = {endpoint.outside.port for endpoint in up.site.endpoints.values()}
        ports |= {int(endpoint.variables["port"]) for endpoint in up.site.endpoints.values()}
        ports.add(int(up.site.base_url.rpartition(":")[2]))
        listening = [c for c in psutil.net_connections("inet") if c.status == "LISTEN"]
        hosts = {c.laddr.ip for c in listening if c.laddr.port in ports}
        # A cluster listens by rules of the kernel, which only a connection shows.
        for address in sorted(own_addresses()):
            for port in ports:
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection((address, port), 1)
    assert hosts <= {"127.0.0.1"}


def own_addresses() -> set[str]:
    """Return the addresses of this machine that are not of the loopback."""
    import psutil

    found = {a.address for each in psutil.net_if_addrs().values() for a in each if a.family == 2}
    return {address for address in found if not address.startswith("127.")}


def test_a_server_that_does_not_start_says_why(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossmeter.world.services.redis._CONFIGURATION", "no-such-setting yes\n")
    with (
        pytest.raises(ServiceError, match="redis ended with exit code 1 while starting"),
        up_on(runtime, tmp_path, Catalogue.here().target("redis")),
    ):
        pass
    assert_nothing_to_recover(runtime)

"""A server that crashes or begins anew unasked makes the run an error that names it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
import psutil
import psycopg
import pytest

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.runtime import RunningSite, Runtime
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from lossmeter.world.runtimes.docker import DockerSite
from lossmeter.world.runtimes.local import LocalSite
from lossmeter.world.site import ServersKillable, Site
from tests.support.program import Running, left_behind, loading, until
from tests.support.sites import runtime_named, up_on

RUN = ("run", "control", "--target", "channel", "--runtime", "local")


@pytest.fixture(params=["local", "docker"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return runtime_named(request.param)


def kill_a_backend(url: str) -> None:
    """Kill one of PostgreSQL's own processes, as the kernel may when memory is short."""
    # It ends all connections, this one too.
    with suppress(psycopg.OperationalError), psycopg.connect(url) as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        inside = int(row[0])
        backend = next(
            each
            for each in psutil.process_iter()
            if each.name().startswith("postgres") and inside in _ids_of(each.pid)
        )
        backend.send_signal(signal.SIGKILL)


def _ids_of(pid: int) -> set[int]:
    """Return the ids of a process, in each of its pid namespaces."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return set()
    return {int(each) for line in lines if line.startswith("NSpid:") for each in line.split()[1:]}


def test_a_database_that_recovers_from_a_crash_is_named(runtime: Runtime, tmp_path: Path) -> None:
    target = Catalogue.here().target("channel")
    sentence = r"postgres began a new lifetime in mid-run.*terminated by signal 9"
    # At the end of the run at the latest.
    with pytest.raises(ServiceError, match=sentence), up_on(runtime, tmp_path, target) as up:
        kill_a_backend(up.site.endpoints["postgres"].direct["url"])


@contextmanager
def restarted(site: Site, name: str) -> Iterator[None]:
    """Restart a server as a person may, or what watches over it: at once, in its place."""
    if isinstance(site, DockerSite):
        ours = {"label": f"{RUN_LABEL}={site._servers.owner.mark}", "name": name}
        with closing(docker.from_env()) as engine:
            (container,) = engine.containers.list(filters=ours)
            container.restart(timeout=0)
        yield
        return
    assert isinstance(site, LocalSite)
    before = psutil.Process(site._servers.lifetime(name).pid)
    argv, folder, environment = before.cmdline(), before.cwd(), before.environ()
    user, group = before.uids().real, before.gids().real
    before.kill()
    until(lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE)
    who = {"user": user, "group": group, "extra_groups": []} if os.geteuid() == 0 else {}
    log = Path(os.devnull).open("wb")  # noqa: SIM115 - closed below
    with (
        log,
        subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log, **who) as after,
    ):
        try:
            until(lambda: answers(site.endpoints[name].outside))
            yield
        finally:
            after.kill()


def answers(at: Address) -> bool:
    with suppress(OSError), socket.create_connection((at.host, at.port), timeout=1):
        return True
    return False


def check_for(site: RunningSite, seconds: float) -> None:
    """Check a site again and again, as a run does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        site.check()
        time.sleep(0.1)


def test_a_broker_that_something_else_restarts_is_named(runtime: Runtime, tmp_path: Path) -> None:
    """It serves again at its address when it is looked at, and what it held may be gone."""
    target = Catalogue.here().target("kafka")
    sentence = (
        r"kafka (began a new lifetime|ended with exit code (-9|137)) in mid-run, which no fault"
    )
    site = up_on(runtime, tmp_path, target)
    # At the end of the run at the latest.
    with pytest.raises(ServiceError, match=sentence), site as up, restarted(up.site, "kafka"):
        check_for(up.site, 5)


def test_a_fault_s_own_restart_is_none(runtime: Runtime, tmp_path: Path) -> None:
    target = Catalogue.here().target("redis")
    with up_on(runtime, tmp_path, target) as up:
        assert isinstance(up.site, ServersKillable)
        up.site.kill_server("redis")
        up.site.start_server("redis")
        up.site.check()


def test_a_run_over_a_crash_of_the_database_is_an_error(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    backend = next(
        child
        for child in running.process("postgres").children()
        if "checkpointer" in " ".join(child.cmdline())
    )
    backend.kill()
    done = running.end(120)
    assert done.code == 3
    assert "postgres began a new lifetime in mid-run, which no fault asked for" in done.err
    assert "reinitializing" in done.err
    (folder,) = (project / "results" / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == "error"
    assert "postgres began a new lifetime" in result["reason"]
    assert left_behind(running.popen.pid) == []

"""Whatever happens to the harness, nothing of its own is left running, and nothing else is hit."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lossmeter.world.install.cache import cache_root
from tests.support import hiding
from tests.support.program import Running, left_behind, loading, lossmeter, until
from tests.unit.test_kube_keys import CONFIG, CONNECT

pytestmark = pytest.mark.alone

CHANNEL = Path(__file__).parents[2] / "targets" / "channel.toml"
HIDING = """
extends = "{channel}"
name = "hiding"

[start]
command = [
    "{{python}}", "{script}", "{{run_folder}}/pids",
    "{{python}}", "-m", "lossmeter_dispatcher",
]
"""
RUN = ("run", "crash", "--target", "channel", "--variant", "full", "--runtime", "local")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any run, under a name that a run uses too."""
    process = subprocess.Popen(["python3", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def _only_run(project: Path) -> Path:
    (folder,) = (project / "results" / "runs").iterdir()
    return folder


def _state_folders(pid: int) -> list[Path]:
    return list((cache_root() / "state" / "local").glob(f"*~{pid}~*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_everything_and_saves_what_there_is(
    project: Path, background: Callable[..., Running], number: signal.Signals
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    running.send(number)
    done = running.end()
    assert done.code == 2
    assert "interrupted" in done.err
    assert "Traceback" not in done.err
    assert left_behind(running.popen.pid) == []
    assert _state_folders(running.popen.pid) == []
    folder = _only_run(project)
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == "error"
    assert "interrupted" in result["reason"]
    assert result["counts"]["sent"] >= 100
    assert (folder / "rows.npy").exists()
    # What the target was still at is told as far as it had come, and never as gone.
    assert not [stage for stage in result["stages"] or {} if "gone" in stage]


def test_a_second_interrupt_does_not_break_the_cleaning(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    running.send(signal.SIGINT)
    running.send(signal.SIGINT)
    assert running.end().code == 2
    assert left_behind(running.popen.pid) == []


def test_after_a_second_interrupt_the_end_comes_soon_whatever_hangs(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    # A database that answers nothing and ends for nobody holds up collecting and stopping.
    stopped = running.process("postgres")
    for process in [stopped, *stopped.children()]:
        process.suspend()
    running.send(signal.SIGINT)
    time.sleep(1)
    begin = time.monotonic()
    running.send(signal.SIGINT)
    done = running.end(30)
    assert time.monotonic() - begin < 10
    assert done.code == 2
    assert "given up; `lossmeter recover` removes what is left" in done.err
    assert "Traceback" not in done.err
    until(lambda: left_behind(running.popen.pid) == [], 5)
    lossmeter("recover")
    assert _state_folders(running.popen.pid) == []


@pytest.mark.usefixtures("project")
def test_recover_removes_what_a_killed_harness_left_and_nothing_else(
    background: Callable[..., Running],
    stranger: subprocess.Popen[bytes],
) -> None:
    living = background(*RUN)
    until(lambda: bool(living.processes()))
    killed = background(*RUN)
    until(lambda: bool(killed.named("locust")))
    ports = _ports_of(killed)
    assert ports
    killed.send(signal.SIGKILL)
    killed.end()
    assert left_behind(killed.popen.pid), "the test needs something to recover"
    run_ids = [folder.name.split("~")[0] for folder in _state_folders(killed.popen.pid)]
    assert run_ids

    done = lossmeter("recover")

    assert done.code == 0
    assert "removed process" in done.out
    assert left_behind(killed.popen.pid) == []
    assert _state_folders(killed.popen.pid) == []
    listening = {c.laddr.port for c in psutil.net_connections() if c.status == "LISTEN"}
    assert not ports & (listening - _ports_of(living))
    assert stranger.poll() is None
    assert living.popen.poll() is None
    assert living.processes()
    again = lossmeter("recover").out
    assert not any(run_id in again for run_id in run_ids)


def _ports_of(running: Running) -> set[int]:
    ports = set()
    for process in running.processes():
        # What ends while it is looked at holds no port any more.
        with suppress(psutil.NoSuchProcess):
            ports |= {c.laddr.port for c in process.net_connections() if c.laddr}
    return ports


def _runs(pid: int) -> bool:
    """Return whether a process runs; init takes its time to bury what has ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_a_target_hides_ends_with_the_run_or_is_recovered(
    project: Path,
    background: Callable[..., Running],
    stranger: subprocess.Popen[bytes],
    number: signal.Signals,
) -> None:
    (project / "hiding.toml").write_text(HIDING.format(channel=CHANNEL, script=hiding.__file__))
    running = background("run", "control", "--target", "hiding.toml", "--runtime", "local")
    until(lambda: loading(project / "results" / "runs"))
    lines = (_only_run(project) / "target" / "pids").read_text().splitlines()
    pids = {way: int(pid) for pid, way in map(str.split, lines)}
    assert set(pids) == set(hiding.WAYS)
    assert all(map(psutil.pid_exists, pids.values()))
    running.send(number)
    done = running.end()
    if number == signal.SIGKILL:
        assert all(map(psutil.pid_exists, pids.values())), "the test needs something to recover"
        reported = lossmeter("recover").out
        assert all(f"removed process {pid} (" in reported for pid in pids.values())
    else:
        assert "killed what the target had run in other sessions" in done.err
    assert not [way for way, pid in pids.items() if _runs(pid)]
    assert stranger.poll() is None


def test_the_next_run_recovers_too(project: Path, background: Callable[..., Running]) -> None:
    killed = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    killed.send(signal.SIGKILL)
    killed.end()
    done = lossmeter("run", "control", "--target", "channel", "--runtime", "local", "--json", "-")
    assert done.code == 0
    assert "removed what a killed run left" in done.err
    assert left_behind(killed.popen.pid) == []


def test_a_database_that_dies_in_mid_run_is_an_error_not_a_verdict(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    running.process("postgres").kill()
    done = running.end()
    assert done.code == 3
    assert "postgres ended with exit code" in done.err
    assert "which no fault asked for" in done.err
    assert "Traceback" not in done.err
    assert left_behind(running.popen.pid) == []
    assert json.loads((_only_run(project) / "result.json").read_text())["verdict"] == "error"


def test_a_load_that_is_killed_is_never_a_pass(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    running.process("locust").kill()
    done = running.end(120)
    assert done.code == 7
    result = json.loads((_only_run(project) / "result.json").read_text())
    assert result["verdict"] == "inconclusive"
    assert "ended early" in result["reason"]
    assert left_behind(running.popen.pid) == []


ARCHIVE = """
import os, signal
from lossmeter.world.install import cache

def build(folder):
    (folder / "kafka.aot").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

cache.entry("kafka-startup", "1.0", build)
"""


def test_recover_removes_keys_and_what_is_half_made_of_killed_harnesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, temporary, config = tmp_path / "cache", tmp_path / "tmp", tmp_path / "kubeconfig"
    temporary.mkdir()
    monkeypatch.setenv("LOSSMETER_CACHE", str(cache))
    monkeypatch.setenv("TMPDIR", str(temporary))
    config.write_text(CONFIG.format(key=base64.b64encode(b"a secret").decode()))
    for program in (CONNECT, ARCHIVE):
        killed = subprocess.run(
            [sys.executable, "-c", program, str(config)], check=False, timeout=60
        )
        assert killed.returncode == -signal.SIGKILL
    assert [file for file in cache.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]
    assert list(cache.rglob("kafka.aot"))

    done = lossmeter("recover")

    assert done.code == 0, done.err
    assert "removed half-made kafka-startup-1.0 in the cache" in done.out
    assert "removed folder keys~" in done.out
    files = [file for file in (*cache.rglob("*"), *temporary.rglob("*")) if file.is_file()]
    assert [file for file in files if file.parent.name != ".locks"] == []
    assert "kafka-startup" not in lossmeter("recover").out

"""Whatever happens to the harness, nothing of its own is left running, and nothing else is hit."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness.cache import cache_root
from tests.integration.conftest import Running, harness, left_behind, loading, until

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

    done = harness("recover")

    assert done.code == 0
    assert "removed process" in done.out
    assert left_behind(killed.popen.pid) == []
    assert _state_folders(killed.popen.pid) == []
    listening = {c.laddr.port for c in psutil.net_connections() if c.status == "LISTEN"}
    assert not ports & (listening - _ports_of(living))
    assert stranger.poll() is None
    assert living.popen.poll() is None
    assert living.processes()
    again = harness("recover").out
    assert not any(run_id in again for run_id in run_ids)


def _ports_of(running: Running) -> set[int]:
    ports = set()
    for process in running.processes():
        # What ends while it is looked at holds no port any more.
        with suppress(psutil.NoSuchProcess):
            ports |= {c.laddr.port for c in process.net_connections() if c.laddr}
    return ports


def test_the_next_run_recovers_too(project: Path, background: Callable[..., Running]) -> None:
    killed = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    killed.send(signal.SIGKILL)
    killed.end()
    done = harness("run", "control", "--target", "channel", "--runtime", "local", "--json", "-")
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

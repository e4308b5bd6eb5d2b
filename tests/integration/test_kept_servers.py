"""Servers that serve several runs of one command, as a user meets them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lossmeter.errors import ExitCode
from lossmeter.load.process import events_sent
from lossmeter.world.install.cache import cache_root
from tests.support.program import Done, Running, left_behind, lossmeter, until
from tests.support.sites import on_engine, runtime_named

SHORT = ("control", "--duration", "1")
TWO = ("--target", "redis-list", "--target", "redis")


@pytest.fixture(params=["local", "docker"])
def runtime(request: pytest.FixtureRequest) -> str:
    return runtime_named(request.param).name


def _runs(project: Path) -> list[Path]:
    return sorted((project / "results" / "runs").iterdir())


def _served_before(run: Path) -> Any:
    return json.loads((run / "environment.json").read_text())["servers_served_before"]


def working_folders() -> list[str]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            found.append(process.cwd())
    return found


def _passed(done: Done) -> None:
    assert done.code == 0, done.err
    assert {result["verdict"] for result in done.results()} == {"pass"}
    assert {result["counts"]["lost"] for result in done.results()} == {0}


def test_a_matrix_uses_servers_again_and_each_run_says_so(project: Path, runtime: str) -> None:
    done = lossmeter("run", *SHORT, *TWO, "--runtime", runtime, "--json", "-")
    _passed(done)
    first, second = _runs(project)
    assert [_served_before(first), _served_before(second)] == [0, 1]
    assert done.err.count("servers kept, after 1 run: emptied, and found as when new") == 1
    assert (
        "kept after 1 run, emptied, and found as when new" in (second / "report.html").read_text()
    )
    for run in (first, second):
        for name in ("postgres", "redis", "toxiproxy", "target"):
            assert (run / "logs" / f"{name}.log").exists(), name
    assert "database system is ready" in (first / "logs" / "postgres.log").read_text()
    assert "database system is ready" not in (second / "logs" / "postgres.log").read_text()
    assert left_behind(done.pid) == []
    assert list((cache_root() / "state" / runtime).glob(f"*~{done.pid}~*")) == []


def test_servers_of_their_own_can_be_asked_for(project: Path) -> None:
    done = lossmeter(*("run", *SHORT, *TWO, "--runtime", "local"), "--fresh-servers", "--json", "-")
    _passed(done)
    assert [_served_before(run) for run in _runs(project)] == [0, 0]
    assert "servers kept" not in done.err


def test_repeats_use_servers_again(project: Path) -> None:
    done = lossmeter("run", *SHORT, "--target", "channel", "--runtime", "local", "--repeat", "3")
    assert done.code == 0, done.err
    assert [_served_before(run) for run in _runs(project)] == [0, 1, 2]


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_servers_that_lie_idle_are_left_by_nobody(
    project: Path, background: Callable[..., Running], runtime: str, number: signal.Signals
) -> None:
    """Interrupted, the harness ends what it kept too; killed, it leaves it for `recover`."""
    targets = ("--target", "channel", "--target", "redis")
    running = background("run", "control", *targets, "--runtime", runtime)
    runs = project / "results" / "runs"
    until(lambda: runs.exists() and sum(events_sent(run) > 100 for run in runs.glob("*")) == 2)
    kept = f"*.servers~{running.popen.pid}~*"
    assert len(list((cache_root() / "state" / runtime).glob(kept))) == 2
    if runtime == "docker":
        there = on_engine(f":{running.popen.pid}:")
        assert sum(name.endswith(".servers-redis") for name in there) >= 1
        assert sum(name.endswith(".servers-toxiproxy") for name in there) == 2

    running.send(number)
    done = running.end()

    if number == signal.SIGINT:
        assert done.code == ExitCode.INTERRUPTED
    else:
        assert list((cache_root() / "state" / runtime).glob(kept))
        recovered = lossmeter("recover")
        assert recovered.code == 0
        assert ".servers" in recovered.out
    assert left_behind(running.popen.pid) == []
    # Whatever its environment says: nobody works in a folder of these servers any more.
    assert [each for each in working_folders() if f".servers~{running.popen.pid}~" in each] == []
    assert list((cache_root() / "state" / runtime).glob(kept)) == []
    if runtime == "docker":
        assert on_engine(f":{running.popen.pid}:") == []

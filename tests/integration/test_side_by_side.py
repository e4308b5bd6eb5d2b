"""Cells side by side, as a user meets them: the same verdicts, and nothing left in the end."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lossmeter.load.process import events_sent
from lossmeter.world.install.cache import cache_root
from lossmeter.world.runtimes._processes import kill_all, marked
from tests.support import side_by_side
from tests.support.program import Done, Running, left_behind, lossmeter, until

COMMAND = (sys.executable, "-P", str(Path(side_by_side.__file__)))
CELLS = ("run", "control-lossy", "--target", "channel", "--target", "redis-list")
HERE = ("--runtime", "local", "--seed", "7")


class Beside(Running):
    """A command that makes runs side by side, with the processes that make them."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments, command=COMMAND)
        self.below: list[psutil.Process] = []

    def look_below(self) -> list[psutil.Process]:
        """Return the processes that make its runs, as long as it runs itself."""
        children = psutil.Process(self.popen.pid).children()
        self.below = [each for each in children if "_worker" in " ".join(each.cmdline())]
        return self.below

    def pids(self) -> list[int]:
        return [self.popen.pid, *(each.pid for each in self.below)]

    def abandon(self) -> None:
        super().abandon()
        # What a test that failed has left.
        for each in self.below:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        kill_all([process for process, owner in marked() if owner.pid in self.pids()])


@pytest.fixture
def background() -> Iterator[Callable[..., Beside]]:
    started: list[Beside] = []

    def start(*arguments: str) -> Beside:
        started.append(Beside(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.abandon()


def _spans(project: Path) -> list[tuple[int, float]]:
    """Return when each run began and when it was collected, in the order of their folders."""
    facts = [
        json.loads((run / "facts.json").read_text())
        for run in sorted((project / "results" / "runs").iterdir())
    ]
    return [(each["begun_ns"], each["collected_ns"]) for each in facts]


def _told(done: Done) -> list[Any]:
    return [
        (r["experiment"], r["target"], r["seed"], r["verdict"], r["counts"]) for r in done.results()
    ]


def _loading(project: Path) -> int:
    return sum(events_sent(run) > 100 for run in (project / "results" / "runs").glob("*"))


def _state_folders(pids: list[int]) -> list[Path]:
    local = cache_root() / "state" / "local"
    return [folder for pid in pids for folder in local.glob(f"*~{pid}~*")]


@pytest.mark.alone
def test_two_cells_at_once_come_to_what_they_come_to_in_sequence(
    project: Path, background: Callable[..., Beside]
) -> None:
    beside = background(*CELLS, *HERE, "--jobs", "2", "--json", "-").end(280)
    assert beside.code == 0, beside.err
    assert "up to 2 at once" in beside.err
    (one_begun, one_done), (other_begun, other_done) = _spans(project)[:2]
    assert other_begun < one_done, "they ran one after the other"
    assert one_begun < other_done
    one_by_one = background(*CELLS, *HERE, "--json", "-").end(280)
    assert one_by_one.code == 0, one_by_one.err
    # Exactly the rows that were made to be lost, in the order of the command.
    assert _told(beside) == _told(one_by_one)
    assert [row[1] for row in _told(beside)] == ["channel", "redis-list"]
    for line in beside.err.splitlines():
        if " load" in line or " settled" in line:
            assert "control-lossy × " in line, "a line does not say whose it is"


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_when_the_one_that_asks_is_ended_nothing_is_left(
    project: Path, background: Callable[..., Beside], number: signal.Signals
) -> None:
    running = background(*CELLS, *HERE, "--duration", "40", "--jobs", "2")
    until(lambda: _loading(project) == 2)
    below = running.look_below()
    pids = running.pids()
    assert len(pids) == 3
    assert all(left_behind(each.pid) for each in below), "the test needs something to leave"
    running.send(number)
    done = running.end()
    until(lambda: not any(each.is_running() for each in below), 60)
    assert [owner for pid in pids for owner in left_behind(pid)] == []
    assert _state_folders(pids) == []
    for run in (project / "results" / "runs").iterdir():
        result = json.loads((run / "result.json").read_text())
        assert result["verdict"] == "error"
        assert "interrupted" in result["reason"]
        faults = json.loads((run / "facts.json").read_text())["faults"]
        assert [each["fault"] for each in faults if each["healed_ns"]] == ["reject-rows"]
    if number == signal.SIGTERM:
        assert done.code == 2
        assert "Traceback" not in done.err


@pytest.mark.alone
def test_a_second_interrupt_ends_all_soon_whatever_hangs(
    project: Path, background: Callable[..., Beside]
) -> None:
    running = background(*CELLS, *HERE, "--duration", "40", "--jobs", "2")
    until(lambda: _loading(project) == 2)
    below = running.look_below()
    pids = running.pids()
    # A database that answers nothing and ends for nobody holds up collecting and stopping.
    for each in below:
        for process in each.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "postgres" in process.name():
                    process.suspend()
    running.send(signal.SIGINT)
    time.sleep(1)
    begin = time.monotonic()
    running.send(signal.SIGINT)
    done = running.end(30)
    assert time.monotonic() - begin < 10
    assert done.code == 2
    assert "Traceback" not in done.err
    until(lambda: [owner for pid in pids for owner in left_behind(pid)] == [], 5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--jobs", "0"), "--jobs is '0'; right is a number from 1 to 64, or auto"),
        (("--jobs", "x"), "--jobs is 'x'; right is a number from 1 to 64, or auto"),
        (("--jobs", "2", "--runtime", "kubernetes"), "on runtime local only, not on kubernetes"),
    ],
)
def test_what_jobs_cannot_be_is_said_in_one_sentence(
    project: Path, options: tuple[str, ...], said: str
) -> None:
    del project
    done = lossmeter("run", "control", *options)
    assert done.code == 4
    assert said in done.err
    assert done.err.count("\n") == 1

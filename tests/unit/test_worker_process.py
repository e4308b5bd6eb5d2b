"""The process that makes runs for another one: told by lines, and ended in every way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lossmeter.commands._asked import Asked
from lossmeter.commands._worker import RunRequest, Start
from lossmeter.commands._worker_process import GoneError, WorkerProcess
from lossmeter.errors import ExitCode, HarnessError, InterruptedRunError, UsageError
from lossmeter.run.narrator import Silent
from tests.support.program import until

ELSE = RunRequest(cell=0, experiment="crash", target="redis", runtime="local", repeat=0, at_once=2)


def _start(*experiments: str) -> Start:
    asked = Asked(experiments=list(experiments), targets=["channel"])
    return Start(asked=asked, seed=1, of=2, parent=0)


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    made = WorkerProcess(_start("control"))
    yield made
    made._popen.kill()
    if made._popen.stdout is not None and not made._popen.stdout.closed:
        with suppress(HarnessError):
            made.close()


def _listens(worker: WorkerProcess) -> bool:
    """Return whether it has come as far as to handle interrupts."""
    status = Path(f"/proc/{worker._popen.pid}/status").read_text(encoding="ascii")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_one_that_is_asked_for_nothing_ends_by_itself(worker: WorkerProcess) -> None:
    worker.close()
    assert worker._popen.returncode == 0


def test_what_is_no_more_what_was_asked_for_is_not_run(worker: WorkerProcess) -> None:
    with pytest.raises(HarnessError, match="crash on redis is no more what was asked for"):
        worker.run(ELSE, Silent())


def test_an_error_comes_as_the_one_that_it_was() -> None:
    worker = WorkerProcess(_start("no-such-experiment"))
    with pytest.raises(UsageError, match="no-such-experiment"):
        worker.run(ELSE, Silent())
    with pytest.raises(GoneError, match="ended with exit code 4"):
        worker.close()


def test_one_that_is_killed_is_missed(worker: WorkerProcess) -> None:
    until(lambda: _listens(worker))
    os.kill(worker._popen.pid, signal.SIGKILL)
    with pytest.raises(GoneError, match="ended by SIGKILL"):
        worker.run(ELSE, Silent())
    with pytest.raises(GoneError):
        worker.close()


def test_an_interrupt_ends_one_that_waits(worker: WorkerProcess) -> None:
    until(lambda: _listens(worker))
    time.sleep(0.5)
    worker.interrupt()
    with pytest.raises(InterruptedRunError):
        worker.close()
    assert worker._popen.returncode == ExitCode.INTERRUPTED


def test_one_whose_parent_is_another_by_now_ends_at_once() -> None:
    class Orphan(WorkerProcess):
        def _tell(self, line: str) -> None:
            super()._tell(line.replace(f'"parent":{os.getpid()}', '"parent":1'))

    worker = Orphan(_start("control"))
    assert worker._popen.wait(60) == ExitCode.INTERRUPTED
    with pytest.raises(InterruptedRunError):
        worker.close()

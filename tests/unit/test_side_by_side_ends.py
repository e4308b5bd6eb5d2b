"""Several cells at once, and one of them goes wrong, or somebody interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from lossmeter.commands import _side_by_side, _turns
from lossmeter.commands._side_by_side import SideBySide
from lossmeter.commands._worker import RunRequest
from lossmeter.commands._worker_process import GoneError
from lossmeter.errors import ExitCode, HarnessError, InterruptedRunError, UsageError
from lossmeter.record.result import Result
from lossmeter.world import recovery
from tests.support.slots import (
    LOCAL,
    Process,
    Processes,
    beside_of,
    cells_of,
    jobs_for,
    result_of,
)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "SPAN_S", 0.0)
    monkeypatch.setattr(_turns, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(_side_by_side, "LOOK_EVERY_S", 0.01)


@pytest.fixture(autouse=True)
def recovered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Where something was to be recovered; what others left on purpose stays theirs."""
    asked: list[object] = []
    monkeypatch.setattr(recovery, "recover", lambda on: asked.append(on) or [])
    return asked


def test_what_cannot_be_run_stops_no_other_and_the_first_in_order_is_raised() -> None:
    jobs = jobs_for(*cells_of("crash", "channel", "redis"))

    def make(_: Process, request: RunRequest) -> Result:
        if request.target == "redis":
            # The later one is reported first.
            time.sleep(0.0 if request.experiment == "crash-full" else 0.2)
            raise UsageError(f"{request.experiment} cannot be set up")
        return result_of(request)

    results: list[Result] = []
    with (
        pytest.raises(UsageError, match=r"^crash cannot be set up"),
        beside_of(jobs, Processes(make)) as beside,
    ):
        results.extend(beside.runs())
    assert [result.target for result in results] == ["channel", "channel"]


def test_a_process_that_is_killed_is_an_error_and_others_get_a_new_one(
    recovered: list[object],
) -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis", "kafka"))

    def make(_: Process, request: RunRequest) -> Result:
        if request.target == "channel":
            raise GoneError("a process that makes runs ended by SIGKILL")
        return result_of(request)

    processes = Processes(make)
    results: list[Result] = []
    with (
        pytest.raises(HarnessError, match="SIGKILL"),
        beside_of(jobs, processes) as beside,
    ):
        results.extend(beside.runs())
    assert {result.target for result in results} == {"redis", "kafka"}
    assert all(process.closed for process in processes.all)
    assert recovered == [[LOCAL]]


def test_a_defect_is_an_error_and_no_silence(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis"))

    def make(_: Process, request: RunRequest) -> Result:
        if request.target == "redis":
            raise ZeroDivisionError("nobody expected this")
        return result_of(request)

    with (
        pytest.raises(HarnessError, match="ZeroDivisionError: nobody expected this"),
        beside_of(jobs, Processes(make)) as beside,
    ):
        list(beside.runs())
    assert "Traceback" in capsys.readouterr().err


class Interrupted:
    """Runs that end when their process is interrupted, as real ones do; one is over before."""

    def __init__(self) -> None:
        self.going = threading.Semaphore(0)

    def __call__(self, process: Process, request: RunRequest) -> Result:
        if request.experiment == "crash" and request.target == "channel":
            return result_of(request)
        self.going.release()
        while not process.interrupts:
            time.sleep(0.01)
        raise InterruptedRunError("interrupted: faults healed")


def _keep_all(beside: SideBySide, results: list[Result]) -> None:
    with beside as entered:
        for result in entered.runs():
            results.append(result)  # noqa: PERF402 - one by one, as the command keeps them


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_and_what_was_judged_is_kept(number: signal.Signals) -> None:
    runs = Interrupted()
    processes = Processes(runs)
    jobs = jobs_for(*cells_of("crash", "channel", "redis"))

    def interrupt() -> None:
        for _ in range(2):
            assert runs.going.acquire(timeout=10)
        os.kill(os.getpid(), number)

    before = signal.signal(number, signal.default_int_handler)
    results: list[Result] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(InterruptedRunError, match="faults healed, everything stopped") as error:
            _keep_all(beside_of(jobs, processes), results)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
        thread.join()
    assert error.value.exit_code is ExitCode.INTERRUPTED
    assert [(r.experiment, r.target) for r in results] == [("crash", "channel")]
    assert all(process.closed for process in processes.all)
    # A second interrupt would have them give up healing.
    assert [process.interrupts for process in processes.all] == [1, 1]
    assert not [t for t in threading.enumerate() if t.name.startswith("slot-")]


def test_an_error_of_the_one_who_asks_ends_all_too() -> None:
    runs = Interrupted()
    processes = Processes(runs)
    jobs = jobs_for(*cells_of("crash", "channel", "redis"))

    def ask() -> None:
        with beside_of(jobs, processes) as beside:
            next(beside.runs())
            for _ in range(2):
                assert runs.going.acquire(timeout=10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask()
    assert all(process.closed and process.interrupts == 1 for process in processes.all)


def test_a_process_that_was_interrupted_by_somebody_else_is_an_interrupt(
    recovered: list[object],
) -> None:
    jobs = jobs_for(*cells_of("control", "channel", "redis"))

    def make(_: Process, request: RunRequest) -> Result:
        if request.target == "redis":
            raise InterruptedRunError("interrupted: faults healed")
        return result_of(request)

    results: list[Result] = []
    with pytest.raises(InterruptedRunError), beside_of(jobs, Processes(make)) as beside:
        results.extend(beside.runs())
    assert [result.target for result in results] == ["channel"]
    assert recovered == [], "it ended in good order"

"""An interrupt waits for what must not be left half done, and comes all the same."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.catalogue import Catalogue
from harness.conduct import Conductor
from harness.errors import FaultError
from harness.experiment import PlannedFault, Trigger
from harness.facts import Facts
from harness.interrupts import held_back
from harness.model import AckLevel, Evidence
from harness.narrator import Silent
from harness.probe import HealthProbe
from harness.target import Http


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_block_is_finished_first(number: signal.Signals) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    steps: list[str] = []

    def act() -> None:
        with held_back():
            os.kill(os.getpid(), number)
            steps.append("finished")

    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            act()
        assert steps == ["finished"]
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)


def test_what_nobody_handles_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with held_back():
        if not callable(before):
            assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_change_no_handlers() -> None:
    seen: list[object] = []

    def look() -> None:
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


class _Fault:
    """A fault that does nothing but what a test has it do when it is healed."""

    needs: tuple[type, ...] = ()

    def __init__(self, healing: Callable[[], None]) -> None:
        self._healing = healing
        self.healed = False

    def inject(self, site: object) -> list[Evidence]:
        del site
        return []

    def heal(self, site: object) -> list[Evidence]:
        del site
        self._healing()
        self.healed = True
        return []


def _fail() -> None:
    raise FaultError("it does not come back")


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def conduct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[_Fault]], tuple[Conductor, Facts]]:
    def conducted(faults: Sequence[_Fault]) -> tuple[Conductor, Facts]:
        waiting = list(faults)
        monkeypatch.setattr("harness.conduct.build_fault", lambda _: waiting.pop(0))
        facts = Facts(
            run_id="r",
            experiment="e",
            hypothesis="h",
            target="t",
            ack_level=AckLevel.ENQUEUED,
            runtime="local",
            seed=1,
            events_planned=1,
            rate_per_s=1,
            exact=False,
        )
        probe = HealthProbe("http://127.0.0.1:1", Http(), tmp_path / "probe.jsonl")
        target = Catalogue.here().target("channel")
        conductor = Conductor(object(), probe, facts, Silent(), target=target)  # type: ignore[arg-type]
        for number in range(len(faults)):
            conductor.inject(PlannedFault(f"fault-{number}", Trigger()))
        return conductor, facts

    return conducted


def test_an_interrupt_while_a_fault_is_healed_comes_after_it(
    conduct: Callable[[Sequence[_Fault]], tuple[Conductor, Facts]],
) -> None:
    first, second = _Fault(lambda: None), _Fault(_interrupt)
    conductor, facts = conduct([first, second])
    with pytest.raises(KeyboardInterrupt):
        conductor.heal_rest()
    assert second.healed
    # The one that was injected before it is healed too.
    assert first.healed
    assert all(record.healed_ns is not None for record in facts.faults)


def test_one_that_cannot_be_healed_does_not_keep_the_others_from_it(
    conduct: Callable[[Sequence[_Fault]], tuple[Conductor, Facts]],
) -> None:
    faults = [_Fault(lambda: None), _Fault(_fail), _Fault(lambda: None), _Fault(_fail)]
    conductor, facts = conduct(faults)
    with pytest.raises(FaultError, match="does not come back"):
        conductor.heal_rest()
    assert [fault.healed for fault in faults] == [True, False, True, False]
    problems = [record.problem for record in facts.faults]
    assert problems == [None, "not healed: it does not come back"] * 2
    conductor.heal_rest()

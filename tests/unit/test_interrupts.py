"""An interrupt waits for what must not be left half done, and comes all the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from lossmeter.errors import FaultError
from lossmeter.experiment import PlannedFault, Trigger
from lossmeter.faults._fault import Chosen, Fault, Parameters
from lossmeter.model import Evidence
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.http import Http
from lossmeter.record.facts import Facts
from lossmeter.run.conduct import Conductor
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.world.interrupts import WholeStack, abandon, held_back
from tests.support.conducted import written_facts


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


@pytest.mark.parametrize("first", [True, False])
def test_what_is_being_closed_is_closed_whole(first: bool) -> None:
    """Case 11 of the kill script: servers in containers outlived an interrupt while they ended."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    steps: list[str] = []

    def end(name: str, *, struck: bool) -> None:
        if struck:
            os.kill(os.getpid(), signal.SIGINT)
        steps.append(name)

    def close() -> None:
        with WholeStack() as stack:
            stack.callback(end, "servers", struck=not first)
            stack.callback(end, "target", struck=first)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            close()
        assert steps == ["target", "servers"]
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, before)


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


class _Fault(Fault[Parameters]):
    """A fault that does nothing but what a test has it do when it is healed."""

    def __init__(self, healing: Callable[[], None]) -> None:
        super().__init__(Parameters())
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


class _Ready(Chosen):
    """A fault that is built already."""

    def __init__(self, fault: _Fault) -> None:
        super().__init__(type(fault), fault.asked)
        object.__setattr__(self, "fault", fault)

    def build(self) -> _Fault:
        fault: _Fault = self.fault  # type: ignore[attr-defined]
        return fault


def _fail() -> None:
    raise FaultError("it does not come back")


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def conduct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[_Fault]], tuple[Conductor, Facts]]:
    def conducted(faults: Sequence[_Fault]) -> tuple[Conductor, Facts]:
        waiting = [_Ready(fault) for fault in faults]
        monkeypatch.setattr("lossmeter.run.conduct.choose", lambda *_: waiting.pop(0))
        facts = written_facts()
        probe = HealthProbe("http://127.0.0.1:1", Http(), tmp_path / "probe.jsonl")
        target = Catalogue.here().target("channel")
        planned = [
            PlannedFault(f"fault-{number}", Trigger(load="before"), None)
            for number in range(len(faults))
        ]
        conductor = Conductor(object(), probe, facts, Silent(), planned, target=target)  # type: ignore[arg-type]
        conductor.inject_before_load()
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


def test_an_abandoned_thread_does_nothing_after_the_call_that_it_waits_in() -> None:
    begun, done = threading.Event(), []

    def work() -> None:
        with suppress(SystemExit):
            begun.set()
            time.sleep(0.3)
            done.append("after")

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    abandon(thread)
    thread.join(5)
    assert not thread.is_alive()
    assert done == []

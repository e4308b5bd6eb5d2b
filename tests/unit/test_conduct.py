"""Faults hold at the same time, each on a clock of its own; what cannot is said, not done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lossmeter.errors import FaultError, UsageError
from lossmeter.experiment import (
    Experiment,
    Observed,
    PlannedFault,
    Trigger,
    Variant,
    steady,
)
from lossmeter.faults._fault import Strikes
from lossmeter.model import Predicted
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue, Cell
from lossmeter.run.admission import check_overlaps
from tests.support.conducted import Noting, Stage, fail, kind_of, threads_of_faults

Staging = Callable[..., Stage]

LATENCY = kind_of("slow", Strikes.WAY)
KILL = kind_of("kill", Strikes.TARGET)
PAUSE = kind_of("pause", Strikes.TARGET)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staging:
    def staged(kinds: Sequence[type[Noting]], *planned: PlannedFault, **more: object) -> Stage:
        return Stage(tmp_path, monkeypatch, kinds, planned, **more)  # type: ignore[arg-type]

    return staged


def test_a_fault_comes_at_its_time_while_another_holds(stage: Staging) -> None:
    played = stage(
        [LATENCY, KILL],
        PlannedFault("slow", Trigger(at_s=0.1), 1.0),
        PlannedFault("kill", Trigger(at_s=0.3)),
    )
    played.play()
    slow, kill = played.record("slow"), played.record("kill")
    assert played.site.steps == ["+slow", "+kill", "-kill", "-slow"]
    assert 0.3 <= played.at_s(kill.injected_ns) < 0.8
    assert played.at_s(slow.healed_ns) >= 1.1
    for record in (slow, kill):
        assert [each.claim for each in record.evidence] == [
            f"{record.fault} is there",
            f"{record.fault} is gone",
        ]
        assert record.problem is None


def test_they_are_healed_in_any_order_and_recorded_by_time(stage: Staging) -> None:
    played = stage(
        [LATENCY, KILL],
        PlannedFault("kill", Trigger(at_s=0.3), 0.1),
        PlannedFault("slow", Trigger(at_s=0.0), 0.1),
    )
    played.play()
    assert played.site.steps == ["+slow", "-slow", "+kill", "-kill"]
    assert [record.fault for record in played.facts.faults] == ["slow", "kill"]


def test_what_holds_to_the_end_is_healed_at_the_end(stage: Staging) -> None:
    played = stage(
        [LATENCY, KILL],
        PlannedFault("slow", Trigger(load="before"), None),
        PlannedFault("kill", Trigger(at_s=0.05)),
    )
    played.play()
    assert played.site.steps == ["+slow", "+kill", "-kill", "-slow"]


def test_a_condition_that_falls_into_another_fault_is_a_finding_of_the_run(stage: Staging) -> None:
    counted = iter(range(1000))
    played = stage(
        [PAUSE, KILL],
        PlannedFault("pause", Trigger(at_s=0.0), 0.6),
        PlannedFault("kill", Trigger("persisted >= 20")),
        counters={"persisted": lambda: next(counted)},
    )
    played.play()
    assert played.site.steps == ["+pause", "-pause"]
    record = played.record("kill")
    assert record.injected_ns is None
    assert "fault pause held the target" in str(record.problem)


def test_what_strikes_something_else_is_let_through(stage: Staging) -> None:
    down = kind_of("down", Strikes.WAY)
    other = kind_of("other", Strikes.WAY, servers=("redis",))
    rows = kind_of("rows", Strikes.TABLE)
    played = stage(
        [LATENCY, down, other, rows, PAUSE],
        *(PlannedFault(n, Trigger(), 0.2) for n in ("slow", "down", "other", "rows", "pause")),
    )
    played.play()
    assert sorted(played.site.steps[:5]) == ["+down", "+other", "+pause", "+rows", "+slow"]


def test_a_table_needs_the_server_that_another_fault_kills(stage: Staging) -> None:
    gone, rows = kind_of("gone", Strikes.SERVER), kind_of("rows", Strikes.TABLE)
    played = stage(
        [gone, rows],
        PlannedFault("rows", Trigger(), 0.3),
        PlannedFault("gone", Trigger(at_s=0.1), 0.1),
    )
    played.play()
    assert "fault rows held server postgres" in str(played.record("gone").problem)


def test_an_end_of_the_run_heals_all_whatever_each_was_doing(stage: Staging) -> None:
    stuck = threading.Event()

    def inject_for_ever() -> None:
        stuck.set()
        while True:
            time.sleep(0.01)

    slow_stop = kind_of("stop", Strikes.TARGET, inject=inject_for_ever)
    played = stage(
        [LATENCY, slow_stop, PAUSE],
        PlannedFault("slow", Trigger(at_s=0.0), 60.0),
        PlannedFault("stop", Trigger(at_s=0.05)),
        PlannedFault("pause", Trigger(at_s=60.0), 1.0),
    )
    assert stuck.wait(5)
    assert played.cut_short() < 2
    assert played.site.steps[:2] == ["+slow", "+stop"]
    assert sorted(played.site.steps[2:]) == ["-slow", "-stop"]
    assert played.record("stop").problem == "the run was over while it was injected"
    assert threads_of_faults() == []
    assert played.cut_short() < 0.1
    assert len(played.site.steps) == 4


def test_what_fails_ends_the_run_and_the_others_are_healed(stage: Staging) -> None:
    broken = kind_of("broken", Strikes.TARGET, inject=fail)
    played = stage(
        [LATENCY, broken],
        PlannedFault("slow", Trigger(at_s=0.0), 60.0),
        PlannedFault("broken", Trigger(at_s=0.1)),
    )
    with pytest.raises(FaultError, match="it does not work"):
        played.play()
    played.cut_short()
    assert played.site.steps == ["+slow", "+broken", "-broken", "-slow"]
    assert played.record("broken").problem == "it does not work"


def test_healing_that_fails_does_not_keep_the_others_from_it(stage: Staging) -> None:
    broken = kind_of("broken", Strikes.TARGET, heal=fail)
    played = stage(
        [LATENCY, broken],
        PlannedFault("slow", Trigger(at_s=0.0), None),
        PlannedFault("broken", Trigger(at_s=0.1), 0.1),
    )
    with pytest.raises(FaultError):
        played.play()
    played.cut_short()
    assert played.site.steps == ["+slow", "+broken", "-slow"]
    assert played.record("broken").problem == "not healed: it does not work"


def test_what_each_fault_does_is_shown_meanwhile(stage: Staging) -> None:
    played = stage(
        [LATENCY, KILL, PAUSE],
        PlannedFault("slow", Trigger(at_s=0.0), 9.4),
        PlannedFault("kill", Trigger(at_s=30.0)),
        PlannedFault("pause", Trigger("persisted >= 9")),
        counters={"persisted": lambda: 0},
    )
    time.sleep(0.2)
    shown = played.conductor.now()
    assert shown == (
        "slow holds for 9 s more",
        "kill comes in 30 s",
        "pause waits for persisted >= 9",
    )
    played.conductor.load_is_over()
    played.cut_short()
    assert "condition persisted >= 9 was not met" in str(played.record("pause").problem)
    assert played.conductor.now() == ()


# Before anything starts.


def _cell(target: str, *faults: PlannedFault) -> Cell:
    variant = Variant("", steady(50, 20), faults)

    def predict(_: Observed) -> Predicted:
        return Predicted()

    experiment = Experiment("asked", "a question", (variant,), (target,), predict)
    return Cell(experiment, variant, Catalogue.here().target(target), Budget(max_lost=0))


def _at(
    fault: str, at_s: float, hold_s: float | None = 0.0, **parameters: str | int
) -> PlannedFault:
    return PlannedFault(fault, Trigger(at_s=at_s), hold_s, parameters)


PAUSED = _at("pause", 2, 4)
AIMED = PlannedFault("sigkill", Trigger(step="inserted"))
ROWS: dict[str, str | int | float] = {"table": "notice", "every": 10, "remainder": 7}
REJECTED = PlannedFault("reject-rows", Trigger(load="before"), None, ROWS)
SLOW = _at("latency", 1, 10, latency_ms=100)


@pytest.mark.parametrize(
    ("target", "faults", "what"),
    [
        ("channel", (PAUSED, _at("sigkill", 3)), "both strike the target"),
        ("channel", (PAUSED, _at("sigkill", 6)), "both strike the target"),
        ("channel", (_at("sigkill", 3), _at("stop", 3, grace_s=5)), "both strike the target"),
        ("channel", (SLOW, _at("latency", 5, 1, latency_ms=9)), "latency at server postgres"),
        ("channel", (_at("oom", 1, None), _at("panic", 9)), "from 1 s on"),
        ("channel", (AIMED, PAUSED), "aimed at inserted"),
        (
            "redis",
            (_at("power-loss", 3, 2), _at("server-kill", 4, 1, servers="redis")),
            "both strike server redis",
        ),
        (
            "channel",
            (REJECTED, _at("disk-full", 4, 1)),
            "from before the load on",
        ),
    ],
)
def test_what_would_strike_the_same_at_known_times_is_refused(
    target: str, faults: tuple[PlannedFault, ...], what: str
) -> None:
    for order in (faults, faults[::-1]):
        with pytest.raises(UsageError) as caught:
            check_overlaps(_cell(target, *order))
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "faults",
    [
        (SLOW, _at("sigkill", 5)),
        (_at("proxy-down", 2, 4), PAUSED),
        (SLOW, _at("proxy-down", 2, 4)),
        (PAUSED, _at("sigkill", 7)),
        (PAUSED, PlannedFault("sigkill", Trigger("queue_length >= 300"))),
        (AIMED, SLOW),
    ],
)
def test_what_can_be_combined_or_depends_on_a_condition_is_let_through(
    faults: tuple[PlannedFault, ...],
) -> None:
    check_overlaps(_cell("channel", *faults))

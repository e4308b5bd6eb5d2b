"""A cell that cannot be set up as asked ends no sweep: the others are run, and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lossmeter.commands import _making, _sweep, worked_numbers
from lossmeter.commands._running import Placed, in_turn
from lossmeter.commands._sweep import Swept
from lossmeter.errors import ExitCode, HarnessError, InterruptedRunError, UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.result import Result
from lossmeter.studies.reference import planned
from lossmeter.world.runtimes.local import LocalRuntime
from tests.support.judged_runs import a_result
from tests.support.swept import Runs, stand_in

TARGETS = ["channel", "redis", "kafka"]
TAKEN = UsageError("the port is taken")


def made(number: int, error: HarnessError | None) -> Iterator[Result]:
    if error is not None:
        raise error
    yield a_result("pass").model_copy(update={"run_id": f"run-{number}"})


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return stand_in(project, monkeypatch)


def swept(
    *experiments: str, targets: Sequence[str] = TARGETS, repeat: int = 3, within_s: float = 60.0
) -> Swept:
    """Make the cells of experiments, with what stands in the place of runs."""
    catalogue = Catalogue.here()
    asked = _sweep.Asked(
        catalogue,
        experiments or ["control"],
        targets,
        LocalRuntime(),
        seed=1,
        repeat=repeat,
        within_s=within_s,
        fresh_servers=True,
        at_once=1,
        again=False,
        folder=catalogue.results,
    )
    return _sweep.sweep(asked, planned(catalogue, asked.experiments, targets, LocalRuntime()))


def a_second_for_each_run(runs: Runs, patch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: float(len(runs.names)))
    for module in (_making, _sweep):
        patch.setattr(module, "time", clock)


def test_reference_tables_have_all_that_could_be_run(runs: Runs) -> None:
    runs.ends = lambda _, target: TAKEN if target == "redis" else None
    made = swept()
    assert runs.made() == [
        ("control", target, repeat) for repeat in range(3) for target in ("channel", "kafka")
    ]
    assert len(made.every) == 6
    assert made.missing == ["control on redis: the port is taken"]
    assert made.absent["control", "redis"].short == "not measured: not set up"
    assert made.ended_by is None
    assert made.code == ExitCode.INCONCLUSIVE


def test_a_run_that_could_not_be_begun_costs_a_cell_no_other(runs: Runs) -> None:
    runs.ends = lambda repeat, target: TAKEN if (repeat, target) == (1, "redis") else None
    made = swept()
    assert [name for name in runs.made() if name[1] == "redis"] == [
        ("control", "redis", 0),
        ("control", "redis", 2),
    ]
    assert made.missing == ["control on redis: 2 of 3 runs: the port is taken"]
    assert not made.absent


def test_each_cell_is_made_once_before_any_twice_while_there_is_time(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_second_for_each_run(runs, monkeypatch)
    made = swept(within_s=4)
    assert runs.made() == [
        *(("control", target, 0) for target in TARGETS),
        ("control", TARGETS[0], 1),
    ]
    assert made.missing[0] == "control on channel: 2 of 3 runs: the time was up"
    assert not made.absent
    assert made.code == ExitCode.INCONCLUSIVE


def test_a_cell_without_a_run_says_that_the_time_was_up(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_second_for_each_run(runs, monkeypatch)
    made = swept(within_s=1)
    assert runs.made() == [("control", "channel", 0)]
    assert made.absent["control", "kafka"].short == "not measured: time was up"


@pytest.mark.parametrize("interrupt", [InterruptedRunError("interrupted"), KeyboardInterrupt()])
def test_an_interrupt_keeps_what_was_made(runs: Runs, interrupt: BaseException) -> None:
    runs.ends = lambda repeat, target: interrupt if (repeat, target) == (1, "redis") else None
    made = swept()
    assert made.ended_by is interrupt
    assert len(made.every) == 4
    assert not made.absent
    assert "control on kafka: 1 of 3 runs: it was interrupted" in made.missing


def test_an_interrupt_before_the_first_run_leaves_nothing(runs: Runs) -> None:
    runs.ends = lambda *_: InterruptedRunError("interrupted")
    nothing = swept()
    assert not nothing.every
    assert {refused.short for refused in nothing.absent.values()} == {"not measured: interrupted"}
    assert nothing.code == ExitCode.NOTHING_JUDGED


def test_a_plan_without_a_cell_that_can_be_run_makes_nothing(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("there is nothing to prepare")

    monkeypatch.setattr(_making, "prepare", fail)
    made = swept("broker-partition", targets=["channel"])
    assert made.absent["broker-partition", "channel"].short == "no broker"
    assert not made.every
    assert not runs.made()


def test_worked_numbers_are_shown_though_one_cell_could_not_be_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    shown: list[Any] = []

    def run_one(placed: Placed, *_: object, **__: object) -> Result:
        asked.append(placed.cell.name)
        if len(asked) == 1:
            raise TAKEN
        return a_result("error")

    def show(_: object, rows: Sequence[object], *__: object) -> int:
        shown.extend(rows)
        return 0

    monkeypatch.setattr(worked_numbers, "run_one", run_one)
    monkeypatch.setattr(worked_numbers, "prepare", lambda _: None)
    monkeypatch.setattr(worked_numbers, "_show", show)
    with pytest.raises(UsageError, match="the port is taken"):
        worked_numbers.command(repeat=1, runtime="local", seed=1)
    assert len(set(asked)) > 1
    assert sum(row.made for row in shown) >= len(set(asked)) - 1


@pytest.mark.parametrize("error", [TAKEN, HarnessError("the disk is full")])
def test_others_are_run_whatever_keeps_one_from_being_begun(error: HarnessError) -> None:
    sweep = in_turn(partial(made, n, error if n == 0 else None) for n in range(3))
    assert [next(sweep).run_id, next(sweep).run_id] == ["run-1", "run-2"]
    with pytest.raises(HarnessError) as caught:
        next(sweep)
    assert caught.value is error


def test_an_interrupt_ends_a_sweep() -> None:
    interrupt = InterruptedRunError("interrupted")
    with pytest.raises(InterruptedRunError):
        list(in_turn(partial(made, n, interrupt if n == 0 else None) for n in range(3)))

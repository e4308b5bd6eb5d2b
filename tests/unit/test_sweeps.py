"""A cell that cannot be set up as asked ends no sweep: the others are run, and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from lossmeter.commands import _sweep, worked_numbers
from lossmeter.commands._running import Placed, in_turn
from lossmeter.commands._sweep import Swept
from lossmeter.errors import HarnessError, InterruptedRunError, UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.result import Result
from lossmeter.studies.reference import planned
from lossmeter.world.runtimes.local import LocalRuntime
from tests.support.judged_runs import a_result

TAKEN = UsageError("the port is taken")


def made(number: int, error: HarnessError | None) -> Iterator[Result]:
    if error is not None:
        raise error
    yield a_result("pass").model_copy(update={"run_id": f"run-{number}"})


Ends = Callable[[int, str], BaseException | None]


def swept(patch: pytest.MonkeyPatch, ends: Ends, repeat: int = 3, within_s: float = 60.0) -> Swept:
    """Make three cells; ``ends`` says what happens in the place of a repeat's run on a target."""

    def run_all(placed: Sequence[Placed], *_: object, repeat: int, **__: object) -> Any:
        def run(each: Placed) -> Iterator[Result]:
            target = each.cell.target.name
            if (error := ends(repeat, target)) is not None:
                raise error
            told = {"experiment": each.cell.name, "target": target}
            yield a_result("pass").model_copy(update=told | {"run_id": f"{target}-{repeat}"})

        return in_turn(partial(run, each) for each in placed)

    patch.setattr(_sweep, "run_all", run_all)
    patch.setattr(_sweep, "prepare", lambda _: None)
    asked = _sweep.Asked(Catalogue.here(), LocalRuntime(), 1, repeat, within_s, fresh_servers=True)
    names = ["channel", "redis", "kafka"]
    return _sweep.sweep(asked, planned(Catalogue.here(), ["control"], names, LocalRuntime()))


def runs_of(made: Swept) -> dict[str, list[str]]:
    return {target: [f.name for f in folders] for (_, target), folders in made.folders.items()}


def test_reference_tables_have_all_that_could_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = swept(monkeypatch, lambda _, target: TAKEN if target == "redis" else None)
    assert runs_of(made) == {
        "channel": ["channel-0", "channel-1", "channel-2"],
        "kafka": ["kafka-0", "kafka-1", "kafka-2"],
    }
    assert made.missing == ["control on redis: the port is taken"]
    assert made.absent["control", "redis"].short == "not measured: not set up"
    assert made.ended_by is None


def test_each_cell_is_made_once_before_any_twice_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(100))
    monkeypatch.setattr(_sweep.time, "monotonic", lambda: next(now))
    made = swept(monkeypatch, lambda *_: None, within_s=4)
    assert runs_of(made) == {
        "channel": ["channel-0", "channel-1"],
        "redis": ["redis-0"],
        "kafka": ["kafka-0"],
    }
    assert made.missing[0] == "control on channel: 2 of 3 runs: the time was up"
    assert not made.absent
    now = iter(range(100))
    made = swept(monkeypatch, lambda *_: None, within_s=1)
    assert runs_of(made) == {"channel": ["channel-0"]}
    assert made.absent["control", "kafka"].short == "not measured: time was up"


@pytest.mark.parametrize("interrupt", [InterruptedRunError("interrupted"), KeyboardInterrupt()])
def test_an_interrupt_keeps_what_was_made(
    monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    def ends(repeat: int, target: str) -> BaseException | None:
        return interrupt if (repeat, target) == (1, "redis") else None

    made = swept(monkeypatch, ends)
    assert made.ended_by is interrupt
    assert len(made.every) == 4
    assert not made.absent
    assert "control on kafka: 1 of 3 runs: it was interrupted" in made.missing
    nothing = swept(monkeypatch, lambda *_: interrupt)
    assert not nothing.every
    assert {refused.short for refused in nothing.absent.values()} == {"not measured: interrupted"}


def test_a_plan_without_a_cell_that_can_be_run_makes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("there is nothing to prepare")

    monkeypatch.setattr(_sweep, "prepare", fail)
    asked = _sweep.Asked(Catalogue.here(), LocalRuntime(), 1, 3, 60.0, fresh_servers=True)
    plan = planned(Catalogue.here(), ["broker-partition"], ["channel"], LocalRuntime())
    made = _sweep.sweep(asked, plan)
    assert made.absent["broker-partition", "channel"].short == "no broker"
    assert not made.every


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

"""What can never be is refused before anything starts; what may be is let through."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.experiment import (
    Experiment,
    Load,
    Observed,
    Phase,
    PlannedFault,
    Trigger,
    Variant,
    steady,
)
from lossmeter.model import Predicted
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plan.contradictions import check_contradictions, longest
from lossmeter.plugins import load
from lossmeter.run.admission import check
from lossmeter.world import runtimes
from tests.support.typed import typed

SETTINGS: dict[str, str | int | float] = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}
NINE_S = steady(200, 9)


def _predict(_: Observed) -> Predicted:
    return Predicted()


def _cell(  # noqa: PLR0913 - what a cell is made of
    trigger: Trigger,
    asked: Load = NINE_S,
    *,
    target: str = "channel",
    fault: str = "sigkill",
    parameters: dict[str, str | int | float] | None = None,
    settings: dict[str, str | int | float] | None = None,
) -> Cell:
    planned = PlannedFault(fault, trigger, parameters=parameters or {})
    variant = Variant("", asked, (planned,), SETTINGS if settings is None else settings)
    experiment = Experiment("asked", "a question", (variant,), (target,), _predict)
    return Cell(experiment, variant, Catalogue.here().target(target), Budget(max_lost=0))


NEVER = [
    (_cell(Trigger("queue_length >= 2000")), "the queue holds 1,000 events at most"),
    (_cell(Trigger("queue_length > 1000")), "the queue holds 1,000 events at most"),
    (_cell(Trigger("queue_length < 0")), "can never come true"),
    (_cell(Trigger("queue_length >= 500"), steady(80, 9)), "handle 100 events/s"),
    (_cell(Trigger("queue_length >= 500"), steady(200, 3)), "the queue comes to"),
    (_cell(Trigger("queue_length >= 500"), target="channel-rate-limit"), "the queue comes to"),
    (_cell(Trigger("queue_length >= 500"), target="channel-workers"), "handle 600 events/s"),
    (_cell(Trigger("queue_length >= 500", limit_s=2)), "until its limit of 2 s"),
    (_cell(Trigger("queue_length >= 380", limit_s=2)), "the queue comes to"),
    (_cell(Trigger("persisted >= 2000")), "only 1,800 events are sent"),
    (_cell(Trigger("persisted >= 900", limit_s=4)), "only 800 events are sent until"),
    (_cell(Trigger("persisted >= 700", limit_s=4)), "which makes 405 until then"),
    (_cell(Trigger("refused >= 1801")), "only 1,800 events are sent"),
    (_cell(Trigger("first refusal"), steady(80, 30)), "so the queue never fills"),
    (_cell(Trigger("first refusal", limit_s=10), steady(200, 20)), "a push waits 5 s for room"),
    (_cell(Trigger(at_s=9)), "when the load of 9 s is over"),
    (
        _cell(Trigger(), fault="stop", parameters={"grace_s": 4, "pre_stop_s": 5}),
        "pre_stop_s 5 is longer than grace_s 4",
    ),
    (
        _cell(Trigger(), fault="rollout", parameters={"grace_s": 4, "pre_stop_s": 5}),
        "pre_stop_s 5 is longer than grace_s 4",
    ),
]

MAY_BE = [
    _cell(Trigger("queue_length >= 100"), target="channel-rate-limit"),
    _cell(Trigger("queue_length >= 500")),
    _cell(Trigger("queue_length >= 1000"), steady(200, 12.5)),
    _cell(Trigger("queue_length <= 0")),
    _cell(Trigger("queue_length >= 20"), steady(80, 9)),
    _cell(Trigger("persisted >= 300")),
    _cell(Trigger("persisted >= 300"), target="kafka"),
    _cell(Trigger("first refusal"), steady(200, 18)),
    _cell(Trigger(at_s=8.9)),
    _cell(Trigger(at_s=20, load="before")),
    # What is varied besides is not in the model, so the queue may come to anything.
    _cell(Trigger("queue_length >= 500"), steady(80, 9), settings={**SETTINGS, "query_s": 2.0}),
    _cell(Trigger("first refusal"), steady(80, 9), settings={**SETTINGS, "rate_limit": 10}),
]


@pytest.mark.parametrize(("cell", "why"), NEVER)
def test_what_can_never_be_is_refused_in_one_sentence(cell: Cell, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(cell, load(runtimes, "local", "runtime").RUNTIME)
    reported = str(caught.value)
    assert why in reported
    assert "\n" not in reported


@pytest.mark.parametrize("cell", MAY_BE)
def test_what_may_be_is_let_through(cell: Cell) -> None:
    check_contradictions(cell)


def test_nothing_that_is_shipped_contradicts_itself() -> None:
    catalogue = Catalogue.here()
    for name in catalogue.experiment_names():
        for cell in cells(catalogue, catalogue.experiment(name), [], []):
            check_contradictions(cell)


def _watching(length: int, **changed: object) -> Cell:
    parameters: dict[str, str | int | float] = {"length": length, "within_s": 8}
    cell = _cell(Trigger(), fault="full-queue", parameters=parameters)
    return replace(cell, target=cell.target.model_copy(update=changed))


def test_a_queue_of_another_length_is_refused_before_anything_starts() -> None:
    local = load(runtimes, "local", "runtime").RUNTIME
    assert check(_watching(1000), local) is None
    # Capacity is set by the experiment where the target maps it, else it is the target's own.
    own = Catalogue.here().target("channel").behaviour.model_copy(update={"capacity": 500})
    why = check(_watching(1000, behaviour=own, settings={"workers": "WORKERS"}), local)
    assert why is not None
    assert "holds 500 events, and asked waits for exactly 1,000; map capacity" in why
    http = Catalogue.here().target("channel").http.model_copy(update={"state": None})
    why = check(_watching(1000, http=http), local)
    assert why is not None
    assert "does not report its queue length" in why


def test_the_shipped_queue_full_says_so_before_anything_is_started(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The target's own capacity is another, and the experiment cannot set it."""
    channel = (project / "targets" / "channel.toml").read_text("utf-8")
    fixed = re.sub(r'(?m)^capacity = ".*\n', "", channel).replace(
        "capacity = 1000", "capacity = 500"
    )
    smaller = project / "targets" / "smaller.toml"
    smaller.write_text(fixed.replace('name = "channel"', 'name = "smaller"'))
    done = typed(capsys, "run", "queue-full", "--target", "smaller", "--runtime", "local")
    assert done.code == 5, done.err
    said = " ".join((done.out + done.err).split())
    assert "the queue of target smaller holds 500 events, and queue-full waits for exactly" in said
    assert "1,000; map capacity under [settings]" in said
    assert "Traceback" not in said
    assert not (project / "results").exists()


def test_a_later_fault_may_find_a_queue_that_the_first_one_made() -> None:
    faults = (
        PlannedFault("pause", Trigger(at_s=1), 5.0),
        PlannedFault("sigkill", Trigger("queue_length >= 300")),
    )
    base = _cell(Trigger(), steady(80, 9))
    variant = Variant("", steady(80, 9), faults, SETTINGS)
    check_contradictions(Cell(base.experiment, variant, base.target, base.budget))


@pytest.mark.parametrize(
    ("retries", "server", "file", "refused"),
    [
        (0, "postgres", None, True),
        (3, "postgres", None, False),
        (0, "postgres", "dead-letters.jsonl", False),
        (0, "redis", None, False),
    ],
)
def test_dead_letters_need_a_retry_where_their_place_goes_away(
    retries: int, server: str, file: str | None, refused: bool
) -> None:
    base = _cell(
        *(Trigger(at_s=1), NINE_S),
        target="redis",
        fault="server-kill",
        parameters={"servers": server},
    )
    behaviour = {"dead_letter_capacity": 1000, "retry_attempts": retries}
    target = base.target.model_copy(
        update={
            "behaviour": base.target.behaviour.model_copy(update=behaviour),
            "persisted": base.target.persisted.model_copy(update={"dead_letter_file": file}),
        }
    )
    cell = Cell(base.experiment, base.variant, target, base.budget)
    local = load(runtimes, "local", "runtime").RUNTIME
    if not refused:
        assert check(cell, local) is None
        return
    with pytest.raises(UsageError, match="takes the database away in which the dead letters"):
        check(cell, local)


@pytest.mark.parametrize("target", ["channel-rate-limit", "channel-write-through"])
def test_what_deals_with_a_full_queue_otherwise_is_not_in_the_model(target: str) -> None:
    check_contradictions(_cell(Trigger("first refusal"), steady(150, 9), target=target))
    check_contradictions(_cell(Trigger("first refusal"), steady(80, 9), target=target))


@pytest.mark.parametrize(
    ("phases", "within_s", "most"),
    [
        ([(200, 10)], 30, 1000),
        ([(200, 10)], 4, 400),
        ([(80, 10)], 30, 0),
        ([(300, 2), (50, 10)], 30, 400),
        ([(50, 10), (300, 2)], 30, 400),
        ([(300, 2), (50, 4), (200, 3)], 30, 500),
    ],
)
def test_the_longest_queue(phases: list[tuple[float, float]], within_s: float, most: float) -> None:
    asked = Load(tuple(Phase(rate, lasts) for rate, lasts in phases))
    assert longest(asked, 100, within_s) == pytest.approx(most)

"""``lossmeter plan`` and a run's prediction are one model, and it errs to the safe side."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmeter.experiment import Observed, steady
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.predict.overload import Intake, arrivals, simulate
from lossmeter.plan.predict.planning import Planned, answers, enough_s
from lossmeter.plan.predict.queue import INSERT_S, Dispatcher
from lossmeter.report import words
from lossmeter.report.plan import answer_text
from tests.support.typed import typed

RATE_PER_S = 200.0
# What a binary fraction may be beside the decimal one that it stands for.
HAIR = 1 + Fraction(1, 10**10)
workers = st.integers(1, 40)
handlers = st.floats(0.005, 2).map(lambda value: round(value, 3))
queued = st.integers(1, 1000)
graces = st.floats(0, 60).map(lambda value: round(value, 2))


def observed(dispatcher: Dispatcher, held: int, load_s: float = 18) -> Observed:
    """Return what a run of a channel would observe, made here apart from the plan."""
    return Observed(
        load=steady(dispatcher.rate_per_s, load_s),
        settings={
            "workers": dispatcher.workers,
            "handler_time_s": dispatcher.handler_time_s,
            "capacity": dispatcher.capacity,
            "sleep_s": dispatcher.grace_s,
        },
        queue_survives_crash=False,
        in_hand_survives_crash=False,
        queue_length=held,
        in_flight=dispatcher.workers,
        blind_s=0.0,
        choices={"shutdown": "sleep"},
        parameters={"grace_s": dispatcher.grace_s},
        fault="sigkill",
    )


@given(workers, handlers, queued, graces)
def test_the_plan_is_the_prediction_of_a_run_with_the_same_numbers(
    hands: int, handler_s: float, held: int, grace_s: float
) -> None:
    catalogue = Catalogue.here()
    of = Dispatcher(RATE_PER_S, hands, handler_s, grace_s=grace_s)
    planned, seen = Planned(of, held), observed(of, held)
    run = catalogue.experiment("crash").predict(seen)
    assert (planned.crash().lost, planned.crash().lost_tolerance) == (run.lost, run.lost_tolerance)
    run = catalogue.experiment("short-grace").predict(seen)
    assert (planned.stop().lost, planned.stop().lost_tolerance) == (run.lost, run.lost_tolerance)


@pytest.mark.parametrize(("hands", "handler_s"), [(5, 0.05), (3, 0.05), (7, 0.1)])
def test_the_plan_of_an_overload_is_that_of_the_experiment(hands: int, handler_s: float) -> None:
    of = Dispatcher(RATE_PER_S, hands, handler_s)
    predict = Catalogue.here().experiment("queue-full").predict
    run = {each.name: each for each in predict(observed(of, 0, 40)).figures}
    planned = {each.name: each for each in Planned(of, 0).overload().figures}
    for name in ("struck_s", "first_refused_due_s", "first_refusal_s"):
        assert planned[name].value == run[name].value
        assert planned[name].tolerance == run[name].tolerance


@given(workers, workers, handlers, queued, graces)
def test_more_workers_never_predict_more_loss(
    one: int, more: int, handler_s: float, held: int, grace_s: float
) -> None:
    """With less grace than a handler's time each worker only has one more in hand."""
    few = Dispatcher(RATE_PER_S, one, handler_s, grace_s=handler_s + grace_s)
    many = replace(few, workers=one + more)
    assert lost(Planned(many, held)) <= lost(Planned(few, held))


@given(workers, handlers, queued, graces, graces)
def test_more_grace_never_predicts_more_loss(
    hands: int, handler_s: float, held: int, grace_s: float, more_s: float
) -> None:
    short = Dispatcher(RATE_PER_S, hands, handler_s, grace_s=grace_s)
    assert lost(Planned(replace(short, grace_s=grace_s + more_s), held)) <= lost(
        Planned(short, held)
    )


@given(workers, handlers, queued, st.integers(0, 100), graces)
def test_more_queued_never_predicts_less_loss(
    hands: int, handler_s: float, held: int, more: int, grace_s: float
) -> None:
    of = Dispatcher(RATE_PER_S, hands, handler_s, capacity=2000, grace_s=grace_s)
    assert lost(Planned(of, held)) <= lost(Planned(of, held + more))
    assert lost(Planned(of, held)) <= Planned(of, held).crash().lost


def lost(planned: Planned) -> int:
    predicted = planned.stop().lost
    assert predicted is not None
    return predicted


@given(workers, handlers, queued)
def test_the_grace_that_is_enough_is_enough(hands: int, handler_s: float, held: int) -> None:
    """At its worst: each worker has just begun, each insert takes its time, some came late."""
    of = Dispatcher(RATE_PER_S, hands, handler_s)
    planned = Planned(of, held)
    enough = enough_s(planned)
    predicted = Planned(replace(of, grace_s=enough), held).stop()
    assert (predicted.lost, predicted.lost_tolerance) == (0, 0)
    turns = math.floor(enough / (handler_s + INSERT_S) + 1e-9)
    assert (turns - 1) * hands >= held + hands


@given(st.floats(1, 1e4), st.floats(0.001, 5))
def test_the_workers_that_are_enough_are_enough_and_no_more(rate: float, handler_s: float) -> None:
    needed = Dispatcher(rate, handler_time_s=handler_s).workers_for(rate)
    assert Dispatcher(rate, needed, handler_s).service_rate_per_s >= rate * (1 - 1e-6)
    if needed > 1:
        assert Dispatcher(rate, needed - 1, handler_s).service_rate_per_s < rate


@given(st.floats(1, 2000), workers, handlers, queued, graces)
@settings(max_examples=20, deadline=None)
def test_every_question_has_an_answer(
    rate: float, hands: int, handler_s: float, held: int, grace_s: float
) -> None:
    of = Dispatcher(rate, hands, handler_s, grace_s=grace_s)
    for answer in answers(Planned(of, held)):
        assert isinstance(answer.value, str | None) or math.isfinite(answer.value)


read = re.compile(r"([\d,.]+)(?:/s| s)?(?: ± ([\d,.]+)(?:/s| s)?)?")


def number(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


@given(st.floats(1, 2000), workers, st.floats(0.001, 2), st.integers(1, 300), graces)
@settings(max_examples=150, deadline=None)
def test_what_is_shown_is_never_on_the_unsafe_side(
    rate: float, hands: int, handler_s: float, capacity: int, grace_s: float
) -> None:
    of = Dispatcher(rate, hands, handler_s, capacity=capacity, grace_s=grace_s)
    shown = {}
    for answer in answers(Planned(of, capacity // 2)):
        found = read.fullmatch(answer_text(answer))
        if not isinstance(answer.value, float | int) or found is None:
            continue
        value, differs = number(found[1]), number(found[2] or "0")
        assert (
            value <= answer.value * HAIR if answer.safe == "down" else value >= answer.value / HAIR
        )
        assert differs >= answer.tolerance / HAIR
        shown[answer.question] = value
    exact = Fraction(hands) / Fraction(handler_s)
    assert shown["capacity of the workers"] <= exact * HAIR
    assert shown["throughput in the long run"] <= min(exact, Fraction(rate)) * HAIR
    growth = max(Fraction(0), Fraction(rate) - exact)
    assert shown["backlog grows by"] >= growth / HAIR - Fraction(1, 10**9)
    assert shown["refused from then on"] == shown["backlog grows by"]
    flow = simulate(arrivals(steady(rate, 30)), Intake(hands, handler_s, capacity))
    if flow.full_s is not None and "queue is full after" in shown:
        assert shown["queue is full after"] <= flow.full_s * HAIR
    slow_s = handler_s + INSERT_S
    needed = shown[f"the same, with {INSERT_S * 1000:g} ms for each insert"]
    assert needed / Fraction(slow_s) >= Fraction(rate) / (HAIR + Fraction(1, 10**6))


@given(
    st.floats(0, 1e7),
    st.sampled_from(["lost", "outage_s", "throughput_per_s", "struck_s", "x_ms"]),
)
def test_a_figure_is_never_beyond_the_side_that_it_is_rounded_to(value: float, name: str) -> None:
    for side in ("down", "up"):
        found = re.match(r"[\d,.]+", words.measured(name, value, side))
        assert found is not None
        if side == "down":
            assert number(found[0]) <= value * HAIR
        else:
            assert number(found[0]) >= value / HAIR


ASKED = ("--rate", "200", "--handler-time", "0.03", "--capacity", "1001")


def test_the_capacity_is_not_rounded_up_nor_the_time_until_the_queue_is_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """5 workers of 0.03 s manage 166.67 events/s, so 200 events/s are 33.33 too many."""
    out = typed(capsys, "plan", *ASKED).out
    for line in ("capacity of the workers 166/s", "backlog grows by 33.4/s"):
        assert line in re.sub(" +", " ", out)


def test_a_stop_counts_what_workers_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """15 workers of 0.4 s finish 300 events in 8 s, and 15 more are in their hands."""
    options = "--rate 100 --workers 15 --handler-time 0.4 --queued 300 --grace 8"
    out = typed(capsys, "plan", *options.split()).out
    assert "a stop with 8 s of grace loses, with 300 queued" in out
    (line,) = (line for line in out.splitlines() if line.startswith("a stop with 8 s"))
    assert line.split("queued")[1].split()[0] == "15"


def test_an_overload_says_how_many_workers_keep_up(capsys: pytest.CaptureFixture[str]) -> None:
    out = typed(capsys, "plan", "--rate", "240", "--workers", "3").out
    (line,) = (line for line in out.splitlines() if line.startswith("workers that keep up"))
    assert line.split()[-1] == "12"

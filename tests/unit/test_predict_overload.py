"""The simulations of overload and slow handlers, on cases that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.experiment import Load, Observed, Phase, steady
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.predict.overload import Intake, arrivals, overload, simulate
from lossmeter.plan.predict.slow import slow_handler

TODAY = Intake(workers=5, handler_time_s=0.05, capacity=1000)


def _seen(load: Load, choices: dict[str, str] | None = None, **settings: float) -> Observed:
    return Observed(load, settings, False, False, None, None, 0.0, choices=choices or {})


def test_arrivals_are_those_of_the_schedule() -> None:
    from lossmeter.load.schedule import schedule

    load = Load((Phase(5 / 6, 6), Phase(2.5, 6), Phase(200, 1)))
    planned = schedule([(p.rate_per_s, p.duration_s) for p in load.phases], load.producers)
    assert arrivals(load) == pytest.approx([due.due_ns / 1e9 for due in planned], abs=1e-6)


def test_the_numbers_of_the_mission() -> None:
    flow = simulate(arrivals(steady(200, 25)), TODAY)
    assert flow.full_s == pytest.approx(10, abs=0.05)
    # Sent 5 s after the queue was full, told 5 s after that.
    assert flow.first_refused_due_s == pytest.approx(15, abs=0.05)
    assert flow.first_refusal_s == pytest.approx(20, abs=0.05)
    # As many per second as come too many.
    later = simulate(arrivals(steady(200, 26)), TODAY)
    assert later.refused - flow.refused == pytest.approx(100, abs=3)
    assert flow.throughput_per_s == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    ("rate", "workers", "capacity"), [(200, 5, 1000), (300, 5, 400), (130, 6, 60)]
)
def test_the_simulation_and_the_formula_say_the_same(
    rate: float, workers: int, capacity: int
) -> None:
    growth = rate - workers / TODAY.handler_time_s
    full_s = capacity / growth
    # A push waits in vain when more are before it than are handled while it waits.
    refused_s = full_s + TODAY.push_timeout_s * (rate - growth) / growth
    flow = simulate(arrivals(steady(rate, 80)), replace(TODAY, workers=workers, capacity=capacity))
    assert flow.full_s == pytest.approx(full_s, rel=0.05)
    assert flow.first_refused_due_s == pytest.approx(refused_s, rel=0.05)
    assert flow.first_refusal_s == pytest.approx(refused_s + TODAY.push_timeout_s, rel=0.05)


def test_one_worker_and_one_place_by_hand() -> None:
    # Taken at 0, 1, 2; the third waits for 0.8 s, the fourth would for 1.7 s and may for 1 s.
    one = Intake(workers=1, handler_time_s=1, capacity=1, push_timeout_s=1)
    flow = simulate([0.0, 0.1, 0.2, 0.3, 1.5], one)
    assert flow.rows_s == pytest.approx([1, 2, 3, 4])
    assert (flow.refused, flow.first_refused_due_s) == (1, 0.3)
    assert flow.first_refusal_s == pytest.approx(1.3)
    assert flow.full_s == pytest.approx(0.1)


def test_who_may_not_wait_is_refused_at_once() -> None:
    one = Intake(workers=1, handler_time_s=1, capacity=1, when_full="reject")
    flow = simulate([0.0, 0.1, 0.2, 0.3], one)
    assert (flow.refused, flow.first_refusal_s) == (2, 0.2)


def test_who_writes_through_refuses_nobody() -> None:
    one = Intake(workers=1, handler_time_s=1, capacity=1, when_full="write-through")
    flow = simulate([0.0, 0.1, 0.2, 0.3], one)
    assert (flow.refused, flow.through) == (0, 2)
    assert sorted(flow.rows_s) == pytest.approx([1, 1.2, 1.3, 2])


def test_a_bucket_lets_a_second_s_worth_through_and_then_its_rate() -> None:
    limited = replace(TODAY, when_full="rate-limit", rate_limit_per_s=90)
    flow = simulate(arrivals(steady(200, 10)), limited)
    # 90 at first, 90 a second, of 2000.
    assert 2000 - flow.refused == pytest.approx(90 + 900, abs=2)
    assert flow.full_s is None
    assert flow.first_refusal_s == pytest.approx(90 / 110, abs=0.02)


def test_what_is_below_capacity_is_never_refused() -> None:
    flow = simulate(arrivals(steady(80, 5)), TODAY)
    assert (flow.refused, flow.full_s) == (0, None)


@given(
    rates=st.lists(st.floats(1, 300), min_size=1, max_size=3),
    workers=st.integers(1, 8),
    handler=st.floats(0.001, 0.5),
    capacity=st.integers(1, 60),
    when_full=st.sampled_from(["block", "reject", "write-through", "rate-limit"]),
)
def test_each_event_has_one_end(
    rates: list[float], workers: int, handler: float, capacity: int, when_full: str
) -> None:
    limit = 50.0 if when_full == "rate-limit" else None
    intake = Intake(workers, handler, capacity, when_full, 0.5, limit)
    due_s = arrivals(Load(tuple(Phase(rate, 1) for rate in rates)))
    flow = simulate(due_s, intake)
    assert len(flow.rows_s) + flow.refused == len(due_s)
    assert all(row >= handler for row in flow.rows_s)
    assert (flow.refused == 0) == (flow.first_refusal_s is None)
    if when_full == "write-through":
        assert flow.refused == 0


def test_a_prediction_has_a_figure_for_each_number_of_the_mission() -> None:
    seen = _seen(steady(200, 18), workers=5, handler_time_s=0.05, capacity=1000, push_timeout_s=5)
    predicted = overload(seen)
    figures = {figure.name: figure for figure in predicted.figures}
    assert predicted.lost == 0
    assert figures["struck_s"].value == pytest.approx(10, abs=0.05)
    assert figures["first_refused_due_s"].value == pytest.approx(15, abs=0.05)
    assert figures["first_refusal_s"].value == pytest.approx(20, abs=0.05)
    assert figures["refused"].value == pytest.approx(300, abs=5)
    assert all(figure.reason for figure in predicted.figures)


def test_nothing_is_predicted_of_a_target_that_tells_nothing() -> None:
    assert overload(_seen(steady(200, 18))).lost is None
    assert slow_handler(_seen(steady(1, 5))).lost is None


SLOW = {"handler_time_s": 0.0, "query_s": 2, "external_s": 3, "logic_s": 1, "capacity": 1000}


@pytest.mark.parametrize(
    ("remedy", "per_s"),
    [
        ({"workers": 5}, 5 / 6),
        ({"workers": 5, "cache_s": 1000}, 5 / 4),
        ({"workers": 10}, 10 / 6),
        # As fast as they come.
        ({"workers": 5, "aside": 100}, 2.5),
        ({"workers": 30}, 2.5),
    ],
)
def test_what_a_slow_handler_manages(remedy: dict[str, float], per_s: float) -> None:
    load = Load((Phase(2.5, 200),), producers=1)
    (figure,) = slow_handler(_seen(load, **SLOW, **remedy)).figures
    assert figure.name == "throughput_per_s"
    assert figure.value == pytest.approx(per_s, rel=0.02)


def test_the_slow_handler_of_the_mission_manages_083() -> None:
    catalogue = Catalogue.here()
    experiment = catalogue.experiment("slow-handler")
    (cell,) = cells(catalogue, experiment, ["channel"], [])
    (figure,) = slow_handler(_seen(cell.variant.load, cell.choices(), **cell.numbers())).figures
    assert figure.value == pytest.approx(0.833, abs=0.001)


def test_slow_work_aside_waits_when_too_much_is_under_way() -> None:
    load = Load((Phase(10, 60),), producers=1)
    (figure,) = slow_handler(_seen(load, **SLOW, workers=5, aside=12)).figures
    assert figure.value == pytest.approx(12 / 6, rel=0.05)

"""Each worked number of the mission, and what the model says of crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lossmeter.errors import UsageError
from lossmeter.plan.predict.crash import AtKill, crash
from lossmeter.plan.predict.planning import Planned
from lossmeter.plan.predict.queue import Dispatcher, recommended_backend

TODAY = Dispatcher(rate_per_s=200)
SLOW = Dispatcher(rate_per_s=200, handler_time_s=2 + 3 + 1)


def test_the_worked_numbers_of_the_mission() -> None:
    planned = Planned(TODAY, 500)
    assert TODAY.service_rate_per_s == 100
    assert TODAY.backlog_growth_per_s == 100
    figures = {figure.name: figure.value for figure in planned.overload().figures}
    assert figures["struck_s"] == pytest.approx(10, abs=0.05)
    assert figures["first_refused_due_s"] == pytest.approx(15, abs=0.05)
    assert figures["first_refusal_s"] == pytest.approx(20, abs=0.05)
    assert planned.crash(TODAY.capacity).lost == 1005
    assert planned.crash().lost == 505
    assert TODAY.drain_s(500) == 5
    # About 300, and the 5 in hand.
    assert planned.stop().lost == 305
    assert SLOW.throughput_per_s == pytest.approx(0.83, abs=0.005)


def test_below_capacity_the_queue_never_fills() -> None:
    calm = Planned(Dispatcher(rate_per_s=50), 0)
    assert calm.crash().lost == 3
    assert {"struck_s", "first_refusal_s"}.isdisjoint(f.name for f in calm.overload().figures)


@pytest.mark.parametrize(
    ("rate", "choice"),
    [(50, "channel"), (199, "channel"), (200, "Redis"), (2000, "Redis"), (2001, "Kafka")],
)
def test_the_recommendation_follows_the_rate(rate: float, choice: str) -> None:
    assert recommended_backend(rate).startswith(choice)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_per_s": 0},
        {"rate_per_s": -5},
        {"rate_per_s": 1, "workers": 0},
        {"rate_per_s": 1, "handler_time_s": 0},
        {"rate_per_s": 1, "capacity": 0},
        {"rate_per_s": 1, "grace_s": -1},
        {"rate_per_s": 1, "push_timeout_s": -1},
        {"rate_per_s": float("nan")},
    ],
)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="it must be"):
        Dispatcher(**wrong)  # type: ignore[arg-type]


def _at(queue: int | None = 500, hands: int | None = 5, workers: int | None = 5) -> AtKill:
    return AtKill(queue, hands, rate_per_s=200, workers=workers, blind_s=0.001)


def test_a_crash_of_a_channel_loses_queue_and_hands() -> None:
    predicted = crash(_at(), queue_survives=False, in_hand_survives=False)
    assert predicted.lost == 505
    assert 5 <= predicted.lost_tolerance <= 15
    assert predicted.tolerance_reason


def test_what_late_producers_caught_up_with_unseen_widens_the_prediction() -> None:
    # One that was kept from sending for 0.1 s sends what was due meanwhile at once.
    hurried = crash(replace(_at(), acked=18), queue_survives=False, in_hand_survives=False)
    assert (hurried.lost, hurried.lost_tolerance) == (505, 5 + 18)


def test_a_crash_of_a_list_loses_the_hands() -> None:
    predicted = crash(_at(), queue_survives=True, in_hand_survives=False)
    assert predicted.lost == 5
    assert predicted.lost_tolerance == 5


def test_a_crash_of_a_durable_queue_loses_nothing_and_repeats_the_hands() -> None:
    predicted = crash(_at(), queue_survives=True, in_hand_survives=True)
    assert (predicted.lost, predicted.lost_tolerance, predicted.duplicated_max) == (0, 0, 5)


def test_what_waits_for_a_retry_is_in_memory_and_dies_with_the_process() -> None:
    at = _at(queue=100, hands=45, workers=5)
    assert crash(at, queue_survives=False, in_hand_survives=False).lost == 145
    assert crash(at, queue_survives=True, in_hand_survives=False).lost == 45
    kept = crash(at, queue_survives=True, in_hand_survives=True)
    assert (kept.lost, kept.duplicated_max) == (0, 45)


@pytest.mark.parametrize(
    ("at", "queue", "hands"),
    [
        (_at(), None, None),
        (_at(queue=None), False, False),
        (_at(hands=None, workers=None), True, False),
    ],
)
def test_what_is_not_known_is_not_predicted(
    at: AtKill, queue: bool | None, hands: bool | None
) -> None:
    predicted = crash(at, queue, hands)
    assert predicted.lost is None
    assert predicted.basis

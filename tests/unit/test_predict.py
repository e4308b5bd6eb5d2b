"""Each worked number of the mission, and what the model says of crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.predict.crash import AtKill, crash
from harness.predict.queue import Dispatcher, recommended_backend

TODAY = Dispatcher(rate_per_s=200)
SLOW = Dispatcher(rate_per_s=200, handler_time_s=2 + 3 + 1)


def test_the_worked_numbers_of_the_mission() -> None:
    assert TODAY.service_rate_per_s == 100
    assert TODAY.backlog_growth_per_s == 100
    assert TODAY.full_after_s == 10
    assert TODAY.first_refused_after_s == 15
    assert TODAY.first_refusal_after_s == 20
    assert TODAY.crash_loss() == 1005
    assert TODAY.crash_loss(500) == 505
    assert TODAY.drain_s(500) == 5
    assert TODAY.grace_loss(500) == 300
    assert SLOW.throughput_per_s == pytest.approx(0.83, abs=0.005)


def test_below_capacity_the_queue_never_fills() -> None:
    calm = Dispatcher(rate_per_s=50)
    assert calm.full_after_s is None
    assert calm.first_refusal_after_s is None
    assert calm.refused_per_s == 0
    assert calm.crash_loss() == 3


@given(
    rate=st.floats(1, 1e5),
    workers=st.integers(1, 100),
    handler=st.floats(0.001, 10),
    capacity=st.integers(1, 10_000),
    grace=st.floats(0, 60),
    share=st.floats(0, 1),
)
def test_bounds_that_always_hold(  # noqa: PLR0913, PLR0917 - the model's own numbers
    rate: float, workers: int, handler: float, capacity: int, grace: float, share: float
) -> None:
    d = Dispatcher(rate, workers, handler, capacity, 5.0, grace)
    queued = int(share * capacity)
    assert 0 <= d.grace_loss(queued) <= queued <= d.crash_loss(queued) <= capacity + workers
    assert d.throughput_per_s <= min(d.rate_per_s, d.service_rate_per_s) * 1.0001
    assert (d.full_after_s is None) == (d.backlog_growth_per_s == 0)


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

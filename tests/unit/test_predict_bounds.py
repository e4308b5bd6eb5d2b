"""What the model says at its edges: never a number from nonsense, never more than there is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.errors import UsageError
from lossmeter.plan.predict.crash import AtKill, crash
from lossmeter.plan.predict.planning import Planned
from lossmeter.plan.predict.queue import Dispatcher, recommended_backend

FIELDS = ("rate_per_s", "workers", "handler_time_s", "capacity", "push_timeout_s", "grace_s")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -1])
def test_what_is_no_number_of_a_dispatcher_is_refused(field: str, value: float) -> None:
    with pytest.raises(UsageError, match="it must be"):
        Dispatcher(**({"rate_per_s": 1} | {field: value}))  # type: ignore[arg-type]


positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@given(positive, positive, st.floats(0, allow_infinity=False), st.integers(1, 2000))
def test_no_accepted_number_breaks_the_model(
    rate: float, handler: float, grace: float, queued: int
) -> None:
    try:
        of = Dispatcher(rate, handler_time_s=handler, grace_s=grace, capacity=2000)
        planned = Planned(of, queued)
        predicted = planned.stop(), planned.crash(), planned.crash(2000)
    except UsageError:
        return
    stopped, killed, full = (each.lost for each in predicted)
    assert stopped is not None
    assert 0 <= stopped <= queued + 5
    assert (killed, full) == (queued + 5, 2005)


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(UsageError, match="queued is -1"):
        Dispatcher(200).drain_s(-1)
    for queued in (-1, 1001):
        with pytest.raises(UsageError, match=f"queued is {queued}; it must be 0 to 1000"):
            Planned(Dispatcher(200), queued)
    for rate in (0, -3, math.nan, math.inf):
        with pytest.raises(UsageError, match="rate is"):
            recommended_backend(rate)


def test_the_basis_names_every_number_that_went_in() -> None:
    basis = Dispatcher(201, 7, 0.031, 1013, 5.5, 2.25).basis
    assert all(number in basis for number in ("201", "7", "0.031", "1013", "5.5", "2.25"))


def test_what_is_delivered_again_is_not_lost_even_when_the_queue_is() -> None:
    at = AtKill(queue_length=500, in_flight=5, rate_per_s=200, workers=5, blind_s=0)
    predicted = crash(at, queue_survives=False, in_hand_survives=True)
    assert (predicted.lost, predicted.duplicated_max) == (500, 5)

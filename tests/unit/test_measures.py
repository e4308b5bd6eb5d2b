"""The figures that predictions are compared with, on runs written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lossmeter.judge.ledger.measures import MEASURES, Shown
from lossmeter.judge.ledger.times import Times
from lossmeter.model import Counts, Status
from lossmeter.record.arrays import INTENT, OUTCOME, ROW, Operations

SECOND = 10**9


def _shown(fault: tuple[int, int | None] | None = None, acked: int = 4) -> Shown:
    """Ten events, one a second from 100 s on; the answers take 2 s, a no after the acked."""
    intents, outcomes, rows = np.zeros(10, INTENT), np.zeros(10, OUTCOME), np.zeros(4, ROW)
    at_ns = (100 + np.arange(10)) * SECOND
    for array in (intents, outcomes):
        array["sequence"] = np.arange(10)
    intents["scheduled_ns"] = intents["sent_ns"] = at_ns
    outcomes["done_ns"] = at_ns + 2 * SECOND
    outcomes["status"] = np.where(np.arange(10) < acked, Status.ACKED, Status.REFUSED)
    rows["sequence"] = np.arange(4)
    rows["persisted_ns"] = at_ns[:4] + SECOND
    return Shown(Times.of(Operations(intents, outcomes), rows), Counts(), fault)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_refused_due_s", 4),
        ("first_refusal_s", 6),
        ("struck_s", 1.5),
        # Rows at 102 and 103 s, in the two seconds from 101.5 s on.
        ("held_per_s", 1),
        ("throughput_per_s", 1),
        # The last yes at 105 s, the last event due at 109 s.
        ("outage_s", 4),
    ],
)
def test_what_a_run_showed(name: str, value: float) -> None:
    shown = _shown((101 * SECOND + SECOND // 2, 103 * SECOND + SECOND // 2))
    assert MEASURES[name].read(shown) == pytest.approx(value)


def test_what_a_run_did_not_show_is_no_number() -> None:
    without = _shown()
    assert MEASURES["struck_s"].read(without) is None
    assert MEASURES["held_per_s"].read(without) is None
    assert MEASURES["held_per_s"].read(_shown((SECOND, None))) is None
    assert MEASURES["first_refused_due_s"].read(_shown(acked=10)) is None

"""What a broker was asked for may not be what it held: then nothing is claimed of it."""

from __future__ import annotations

from pathlib import Path

from lossmeter.model import Verdict
from lossmeter.plan.budget import Budget
from tests.support.judged_runs import EVENTS, Run

WRONG_KEYS = "[queue.pending] found no event, although for 2.0 s on end [queue] said that some wait"
DOUBTED = {"redelivered_after_s": 12.0, "stranded_measured": True, "pending_doubt": WRONG_KEYS}


def test_where_the_broker_may_hold_what_is_missing_nobody_is_said_to_have_lost_it(
    tmp_path: Path,
) -> None:
    result = Run(tmp_path, DOUBTED, rows=list(range(EVENTS - 2))).judged()
    assert (result.verdict, result.counts.lost) == (Verdict.INCONCLUSIVE, 2)
    told = f"2 events that are called lost may wait in the broker: {WRONG_KEYS}"
    assert result.reason.startswith(told)
    assert {"pending", "stranded"} <= set(result.not_measured)


def test_a_bound_on_what_the_broker_may_hold_cannot_be_kept(tmp_path: Path) -> None:
    facts = DOUBTED | {"budget": Budget(max_lost=5, max_stranded=0)}
    result = Run(tmp_path, facts, rows=list(range(EVENTS - 2))).judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "max_stranded is set, and stranded was never measured" in result.reason


def test_where_no_event_is_missing_none_is_stranded_wherever_one_looks(tmp_path: Path) -> None:
    result = Run(tmp_path, DOUBTED).judged()
    assert result.verdict is Verdict.PASS
    assert not {"pending", "stranded"} & set(result.not_measured)


def test_what_the_store_says_is_pending_stays_so(tmp_path: Path) -> None:
    rows, pending = list(range(EVENTS - 2)), [(0, EVENTS - 1)]
    result = Run(tmp_path, DOUBTED, rows=rows, pending=pending).judged()
    assert (result.counts.pending, result.counts.lost) == (1, 1)
    assert "stranded" in result.not_measured
    assert "pending" not in result.not_measured

"""`lossmeter explain`: what a run did, lost and proves, for who did not write its experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.model import Counts, Verdict
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.mark_format import Stage
from lossmeter.record.result import Result
from lossmeter.report.explanation import explained
from tests.support.recorded_runs import plain_budgets, record
from tests.support.typed import typed


def result(target: str = "channel", **more: object) -> Result:
    counts = Counts(sent=1800, acked=1800, delivered=1295, lost=505)
    known: dict[str, object] = {
        "run_id": "r",
        "experiment": "crash",
        "hypothesis": "h",
        "target": target,
        "ack_level": "enqueued",
        "runtime": "local",
        "seed": 1,
        "verdict": Verdict.PASS,
        "reason": "within budget: 505 of 1,800 acked events lost",
        "counts": counts,
    }
    return Result.model_validate(known | more)


def facts() -> Facts:
    fault = FaultRecord(fault="sigkill", injected_ns=1, healed_ns=2, queue_length=500, in_flight=5)
    return Facts.model_validate(
        {
            **dict.fromkeys(("run_id", "experiment", "hypothesis", "target", "runtime"), "x"),
            "ack_level": "enqueued",
            "seed": 1,
            "events_planned": 1800,
            "rate_per_s": 200.0,
            "exact": False,
            "faults": [fault.model_dump()],
        }
    )


def test_it_says_what_was_done_what_is_gone_and_what_would_keep_it() -> None:
    lost = {Stage.QUEUED.words: 500, Stage.TAKEN.words: 5}
    kept = result("redis", counts=Counts(sent=1800, acked=1800, delivered=1800))
    said = explained(result(stages=lost), facts(), [kept])
    assert said[0] == (
        "1,800 events were sent to channel at 200 a second: 1,800 were acked. Then the fault "
        "sigkill struck with 500 events queued and 5 events in hand."
    )
    assert said[1] == "505 of the acked events (28.1 %) were lost."
    assert said[2].startswith("500 were lost queued: they were in the memory of the process")
    assert said[3].startswith("5 were lost in hand: workers had taken them")
    assert said[4].endswith("lost less on other targets: redis 0.")
    assert said[5].startswith("The verdict is pass: within budget: 505")


def test_one_is_said_as_one() -> None:
    one = Counts(sent=1, acked=1, lost=1, stranded=1, duplicated=1, unresolved=1, dead_lettered=1)
    said = explained(result(counts=one, stages={Stage.TAKEN.words: 1}), facts())
    assert said[0].startswith("1 event was sent to channel at 200 a second: 1 was acked.")
    assert said[1] == (
        "1 of the acked events (100 %) was lost. 1 waits in the broker without an owner, 1 is a "
        "dead letter, 1 was persisted more than once, 1 got no answer and is not there: nobody "
        "can say."
    )
    assert said[2].startswith("1 was lost in hand")


def test_each_stage_that_an_event_can_be_lost_at_has_its_words() -> None:
    """A cause that nobody wrote is left out; the number is said all the same."""
    for stage in Stage:
        said = explained(result(stages={stage.words: 505}), facts())
        assert said[2].startswith(f"505 were lost {stage.words}")


def test_what_is_not_marked_is_told_by_time_and_what_is_not_known_is_said() -> None:
    said = explained(result(lost_when={"acked before the fault": 505}), facts())
    assert said[2].endswith("by time against the fault: 505 acked before the fault.")
    nothing = explained(result(counts=Counts(sent=3, unknown=3)), facts())
    assert nothing[1] == "Nothing was acked, so nothing can be said of loss."


def test_the_newest_run_is_explained(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_budgets(project)
    record(project, "20260101T000000Z-crash-1", lost=3)
    done = typed(capsys, "explain")
    assert done.code == 0, done.err
    assert "3 of the acked events" in done.out
    assert typed(capsys, "explain", "no-such-run").code == 4

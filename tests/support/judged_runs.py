"""Runs written to disk by hand, to be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lossmeter.judge.verdict import judge_run
from lossmeter.load.journal import JournalWriter
from lossmeter.model import AckLevel, Counts, Evidence, Status
from lossmeter.plan.budget import Budget
from lossmeter.record.arrays import PAIR, ROW, UNDATED
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.result import Result
from tests.support.resealed import resealed

EVENTS = 40
SECOND = 10**9
INJECTED, HEALED = 10 * SECOND, 20 * SECOND


def a_result(verdict: str) -> Result:
    return Result(
        run_id="r",
        experiment="e",
        hypothesis="h",
        target="t",
        ack_level="enqueued",
        runtime="local",
        seed=1,
        verdict=verdict,
        reason="",
        counts=Counts(),
    )


def some_evidence(source: str, *, holds: bool = True) -> Evidence:
    return Evidence(source, "it happened", "seen", holds, INJECTED)


def a_fault(**changes: object) -> FaultRecord:
    good: dict[str, object] = {
        "fault": "sigkill",
        "condition": "queue_length >= 5",
        "met_ns": INJECTED,
        "injected_ns": INJECTED,
        "healed_ns": HEALED,
        "evidence": [some_evidence("waitpid"), some_evidence("health-probe")],
    }
    return FaultRecord.model_validate(good | changes)


@dataclass
class Run:
    """A run that passes, unless something is changed. One event a second."""

    folder: Path
    facts: dict[str, object] = field(default_factory=dict)
    sent: int = EVENTS
    status: Status = Status.ACKED
    end: bool = True
    clock_jump_ns: int = 0
    lag_ns: int = 0
    rows: list[int] = field(default_factory=lambda: list(range(EVENTS)))
    dead: list[tuple[int, int]] = field(default_factory=list)
    pending: list[tuple[int, int]] = field(default_factory=list)
    stranded: list[tuple[int, int]] = field(default_factory=list)
    # Put in the place of the rows' own, by their place among them.
    positions: dict[int, int] = field(default_factory=dict)
    # Added to the times of the rows, by their place among them.
    shifted_ns: dict[int, int] = field(default_factory=dict)

    def judged(self) -> Result:
        """Write the folder and judge it."""
        self.save()
        return judge_run(self.folder)

    def save(self) -> None:
        """Write the folder."""
        good: dict[str, object] = {
            "run_id": "r",
            "experiment": "crash",
            "hypothesis": "h",
            "target": "t",
            "ack_level": AckLevel.ENQUEUED,
            "runtime": "local",
            "seed": 1,
            "events_planned": EVENTS,
            "rate_per_s": 1.0,
            "exact": False,
            "budget": Budget(max_lost=0),
            "faults": [a_fault()],
            "hashes_measured": True,
            "positions_measured": True,
            "times_measured": True,
            "load_exit_code": 0,
            "settled": True,
            "collected": True,
        }
        Facts.model_validate(good | self.facts).save(self.folder)
        self._journal()
        rows = np.zeros(len(self.rows), ROW)
        rows["sequence"] = self.rows
        rows["position"] = np.arange(len(rows))
        for place, position in self.positions.items():
            rows["position"][place] = position
        rows["persisted_ns"] = rows["sequence"] * SECOND + SECOND // 2
        for place, by_ns in self.shifted_ns.items():
            rows["persisted_ns"][place] = by_ns if by_ns == UNDATED else place * SECOND + by_ns
        kept = (np.array(ids, PAIR) for ids in (self.dead, self.pending, self.stranded))
        Collected(rows, *kept).save(self.folder)
        resealed(self.folder)

    def _journal(self) -> None:
        with JournalWriter(self.folder / "journal-0.bin", 0, 1, 1, 0) as journal:
            for n in range(self.sent):
                journal.intent(0, n, n * SECOND - self.lag_ns, n * SECOND, 0)
                journal.outcome(0, n, n * SECOND + SECOND // 4, self.status, 202)
            if self.end:
                journal.end(EVENTS * SECOND, self.clock_jump_ns)

"""Run folders written by hand: whole ones, as a run leaves them, of any size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lossmeter.judge.verdict import judge_run
from lossmeter.load.journal import JournalWriter
from lossmeter.model import AckLevel, Evidence, Expected, Predicted, Status
from lossmeter.plan.budget import Budget
from lossmeter.record.arrays import PAIR, ROW
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.mark_format import MARK, Lifetime, Stage
from lossmeter.record.marks import ARRAY, LIFETIMES
from lossmeter.report.page import run_page, save_run_page
from tests.support.resealed import resealed

SECOND = 10**9
START = 1_700_000_000 * SECOND
PRODUCERS = 8
# Of the lost events of a marked run, so many had been taken.
IN_HAND = 5
# As often as the health probe looks.
LOOK_S = 0.01


@dataclass
class Written:
    """One run: events at an even rate; the middle ones lost, the last ones refused.

    ``names`` replaces texts of the facts, for markup where nobody expects it. ``took_s`` is how
    long it took, in seconds; ``at_once`` how many there might be side by side.
    """

    folder: Path
    experiment: str = "crash"
    target: str = "channel"
    runtime: str = "local"
    seed: int = 1
    events: int = 1000
    rate_per_s: float = 100.0
    lost: int = 0
    refused: int = 0
    answer_s: float = 0.002
    fault: bool = True
    budget: Budget | None = field(default_factory=lambda: Budget(max_lost=100, max_duplicated=0))
    text: str = "nothing special"
    marked: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)
    took_s: float | None = None
    at_once: int = 1

    def save(self) -> Path:
        """Write the folder, judged, and return it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        due_ns = START + (np.arange(self.events) * SECOND / self.rate_per_s).astype(np.int64)
        self._journal(due_ns)
        self._rows(due_ns)
        if self.marked:
            self._marks(due_ns)
        self._probe()
        self._facts()
        plan: dict[str, object] = {"phases": [[self.rate_per_s, self.events / self.rate_per_s]]}
        plan |= {"producers": PRODUCERS, "payload_bytes": 64, "seed": self.seed}
        (self.folder / "load-plan.json").write_text(json.dumps(plan))
        seen = {"machine": {"cpu": self.text, "cores": 2}, "servers": {"postgres": "PostgreSQL 18"}}
        seen |= {"packages": {"lossmeter": "0.1.0"}, "settings": {"CAPACITY": self.text}}
        seen |= {"numbers": dict(self.numbers)}
        (self.folder / "environment.json").write_text(json.dumps(seen))
        judge_run(resealed(self.folder)).save(self.folder)
        return self.folder

    @property
    def fault_ns(self) -> int:
        """When the fault came: in the middle of the load."""
        return START + round(self.events / self.rate_per_s / 2 * SECOND)

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of lost and of refused events."""
        middle = self.events // 2
        return (
            np.arange(middle - self.lost, middle),
            np.arange(self.events - self.refused, self.events),
        )

    def _journal(self, due_ns: np.ndarray) -> None:
        """Write the journal as a load process does, record by record."""
        late = 1 + np.random.default_rng(self.seed).exponential(1, self.events)
        done_ns = due_ns + (late * self.answer_s * SECOND).astype(np.int64)
        refused_from = self.events - self.refused
        times = zip(due_ns.tolist(), done_ns.tolist(), strict=True)
        with JournalWriter(
            self.folder / "journal-0.bin", 0, PRODUCERS, self.seed, START
        ) as journal:
            for place, (due, done) in enumerate(times):
                producer, sequence = place % PRODUCERS, place // PRODUCERS
                status = Status.ACKED if place < refused_from else Status.REFUSED
                journal.intent(producer, sequence, due, due, 0)
                journal.outcome(producer, sequence, done, status, 202)
            journal.end(int(due_ns[-1]) if self.events else START)

    def _marks(self, due_ns: np.ndarray) -> None:
        """Write the marks as they are kept after a run: all persisted but what was lost."""
        lost, refused = self._places()
        persisted = np.setdiff1d(np.arange(self.events), np.concatenate([lost, refused]))
        parts = []
        for stage, places in (
            (Stage.ACCEPTED, np.arange(self.events)),
            (Stage.QUEUED, np.setdiff1d(np.arange(self.events), refused)),
            (Stage.TAKEN, np.union1d(persisted, lost[:IN_HAND])),
            (Stage.PERSISTED, persisted),
            (Stage.ACKNOWLEDGED, persisted),
        ):
            part = np.zeros(len(places), MARK)
            part["producer"], part["sequence"] = places % PRODUCERS, places // PRODUCERS
            part["at_ns"], part["stage"] = due_ns[places], stage
            parts.append(part)
        np.save(self.folder / ARRAY, np.concatenate(parts), allow_pickle=False)
        lives = [asdict(Lifetime("0" * 32, START, survives=False, overflow=0))]
        (self.folder / LIFETIMES).write_text(json.dumps(lives))

    def _rows(self, due_ns: np.ndarray) -> None:
        kept = np.setdiff1d(np.arange(self.events), np.concatenate(self._places()))
        rows = np.zeros(len(kept), ROW)
        rows["producer"], rows["sequence"] = kept % PRODUCERS, kept // PRODUCERS
        rows["position"] = np.arange(len(kept))
        rows["persisted_ns"] = due_ns[kept] + 50_000_000
        nothing = np.empty(0, PAIR)
        Collected(rows, nothing, nothing).save(self.folder)

    def _probe(self) -> None:
        seconds = self.events / self.rate_per_s
        with (self.folder / "probe.jsonl").open("w") as sink:
            for at_s in np.arange(-0.5, seconds + 1, LOOK_S):
                at_ns = START + round(at_s * SECOND)
                down = self.fault and self.fault_ns <= at_ns < self.fault_ns + SECOND // 2
                look: dict[str, object] = {"asked_ns": at_ns, "answered_ns": at_ns, "ok": not down}
                if not down:
                    look |= {"queue_length": round(10 * max(0, at_s)), "in_flight": 5}
                    look["boot_id"] = "0" * 32
                sink.write(json.dumps(look) + "\n")

    def _facts(self) -> None:
        faults = []
        if self.fault:
            evidence = [
                Evidence(source, self.text, self.text, holds=True, at_ns=self.fault_ns)
                for source in ("waitpid", "health-probe")
            ]
            faults = [
                FaultRecord(
                    fault="sigkill",
                    condition="queue_length >= 5",
                    injected_ns=self.fault_ns,
                    healed_ns=self.fault_ns + SECOND // 2,
                    evidence=evidence,
                )
            ]
        Facts(
            run_id=self.folder.name,
            experiment=self.experiment,
            hypothesis=self.text,
            target=self.target,
            ack_level=AckLevel.ENQUEUED,
            runtime=self.runtime,
            seed=self.seed,
            events_planned=self.events,
            rate_per_s=self.rate_per_s,
            exact=False,
            budget=self.budget,
            faults=faults,
            predicted=Predicted(
                lost=self.lost + 3,
                lost_tolerance=5,
                tolerance_reason=self.text,
                duplicated_max=0,
                basis=self.text,
                figures=(Expected("throughput_per_s", 90.0, 20.0, self.text),),
            ),
            hashes_measured=True,
            positions_measured=True,
            times_measured=True,
            stages_marked=self.marked,
            load_exit_code=0,
            settled=True,
            collected=True,
            at_once=self.at_once,
            timings_s={} if self.took_s is None else {"total": self.took_s},
        ).save(self.folder)


def page_of(folder: Path) -> str:
    """Judge a run and return its page."""
    return run_page(folder, judge_run(folder))


def save_page_of(folder: Path) -> Path:
    """Judge a run, write its page and return its path."""
    return save_run_page(folder, judge_run(folder))

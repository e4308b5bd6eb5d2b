"""A judged run: ``result.json``, the file that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lossmeter.errors import ExitCode
from lossmeter.model import Counts, Evidence, Predicted, Verdict
from lossmeter.plan.budget import Budget
from lossmeter.record.files import write_text
from lossmeter.record.json_text import json_text
from lossmeter.record.manifest import RESULT

_EXIT = {
    Verdict.PASS: ExitCode.WITHIN_BUDGET,
    Verdict.FAIL: ExitCode.OVER_BUDGET,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.ERROR: ExitCode.HARNESS_ERROR,
}


class LostWhere(BaseModel):
    """Where in each producer's sequence the lost events lie, summed over producers."""

    prefix: int = 0
    middle: int = 0
    suffix: int = 0


@dataclass(frozen=True, slots=True)
class FaultEvidence(Evidence):
    """Evidence of one fault: ``struck_ns`` is when that struck, wall clock."""

    fault: str = ""
    struck_ns: int | None = None


class LoadFigures(BaseModel):
    """How the load went; latencies in milliseconds from the scheduled time, of acked events.

    ``persisted_per_s`` is what came out of it: rows per second between the first and the last.
    ``cpus`` says how many CPUs each part of the run used on average meanwhile, by its name.
    """

    rate_asked_per_s: float
    rate_kept_per_s: float | None = None
    lag_p99_ms: float | None = None
    lag_max_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_p999_ms: float | None = None
    persisted_per_s: float | None = None
    cpus: dict[str, float] = {}


class Comparison(BaseModel):
    """A figure predicted beside the same measured; a miss marks the prediction, no verdict.

    ``measured`` is None where the run does not show it, and then nothing ``holds``.
    """

    name: str
    unit: str
    predicted: float
    measured: float | None
    difference: float | None
    tolerance: float
    reason: str
    holds: bool | None


class Result(BaseModel):
    """The judgement of one run, with what it rests on.

    ``notes`` say what a reader should know beside the verdict; ``manifest_sha256`` is the
    digest of the manifest of what it was judged from, None where that has none.
    ``stages`` says what the lost events died of, in events, and is None for a target that
    marks no stages; ``lost_when`` places them by time against the fault; ``volatile_ms`` is
    how long before the fault the oldest lost event had been acked; ``late_by_s`` is the most
    by which an event came late, after its ack, None without a late one. ``times_problem`` is why
    the times of rows are not measured, and with them neither recovery nor throughput; it is
    empty where they are. ``not_acks`` says how often each answer came that was no ack.
    ``starved``: the harness had too little CPU to do what it says it did.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    run_id: str
    experiment: str
    hypothesis: str
    target: str
    ack_level: str
    runtime: str
    seed: int
    root_seed: int | None = None
    repeat: int = 0
    verdict: Verdict
    reason: str
    breaches: list[str] = []
    notes: list[str] = []
    starved: bool = False
    manifest_sha256: str | None = None
    counts: Counts
    not_measured: list[str] = []
    times_problem: str = ""
    not_acks: str = ""
    worst_case_ratio: float | None = None
    lost_where: LostWhere = LostWhere()
    stages: dict[str, int] | None = None
    lost_when: dict[str, int] = {}
    volatile_ms: float | None = None
    late_by_s: float | None = None
    extra_rows: int = 0
    predicted: Predicted | None = None
    difference: int | None = None
    prediction_holds: bool | None = None
    comparisons: list[Comparison] = []
    evidence: list[FaultEvidence] = []
    self_proof: list[str] = []
    budget: Budget | None = None
    recovery_s: float | None = None
    load: LoadFigures | None = None
    timings_s: dict[str, float] = {}

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code that this verdict means for a pipeline."""
        return _EXIT[self.verdict]

    def count(self, name: str) -> int | None:
        """Return the events of a class, by its name in ``Counts``; None where not measured."""
        return None if name in self.not_measured else getattr(self.counts, name)

    @property
    def self_proof_share(self) -> float | None:
        """Return what share of the run's time the self-proof took; None where none was taken."""
        spent_s, total_s = self.timings_s.get("self_proof"), self.timings_s.get("total")
        return spent_s / total_s if spent_s is not None and total_s else None

    def to_json(self) -> str:
        """Return the file's text; ``schema`` is the version of its layout."""
        return json_text(self).replace('"schema_version"', '"schema"', 1)

    def save(self, folder: Path) -> None:
        """Write ``result.json``; a reader never sees half a file."""
        write_text(folder / RESULT, self.to_json() + "\n")


def exit_code(results: list[Result]) -> ExitCode:
    """Return the exit code of several runs: the gravest one decides."""
    return ExitCode.gravest(result.exit_code for result in results)

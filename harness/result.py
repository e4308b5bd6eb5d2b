"""A judged run: ``result.json``, the file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.budget import Budget
from harness.errors import ExitCode, UsageError
from harness.model import Counts, Evidence, Predicted, Verdict

RESULT = "result.json"

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


class LoadFigures(BaseModel):
    """How the load went; latencies in milliseconds from the scheduled time, of acked events.

    ``persisted_per_s`` is what came out of it: rows per second between the first and the last.
    """

    rate_asked_per_s: float
    rate_kept_per_s: float | None = None
    lag_p99_ms: float | None = None
    lag_max_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_p999_ms: float | None = None
    persisted_per_s: float | None = None


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

    ``stages`` says what the lost events died of, in events, and is None for a target that
    marks no stages; ``lost_when`` places them by time against the fault; ``volatile_ms`` is
    how long before the fault the oldest lost event had been acked.
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
    counts: Counts
    not_measured: list[str] = []
    worst_case_ratio: float | None = None
    lost_where: LostWhere = LostWhere()
    stages: dict[str, int] | None = None
    lost_when: dict[str, int] = {}
    volatile_ms: float | None = None
    extra_rows: int = 0
    predicted: Predicted | None = None
    difference: int | None = None
    prediction_holds: bool | None = None
    comparisons: list[Comparison] = []
    evidence: list[Evidence] = []
    self_proof: list[str] = []
    budget: Budget | None = None
    recovery_s: float | None = None
    load: LoadFigures | None = None
    timings_s: dict[str, float] = {}

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code that this verdict means for a pipeline."""
        return _EXIT[self.verdict]

    @property
    def self_proof_share(self) -> float | None:
        """Return what share of the run's time the self-proof took; None where none was taken."""
        spent_s, total_s = self.timings_s.get("self_proof"), self.timings_s.get("total")
        return spent_s / total_s if spent_s is not None and total_s else None

    def to_json(self) -> str:
        """Return the file's text; ``schema`` is the version of its layout."""
        return self.model_dump_json(indent=2).replace('"schema_version"', '"schema"', 1)

    def save(self, folder: Path) -> None:
        """Write ``result.json``; a reader never sees half a file."""
        partial = folder / f"{RESULT}.tmp"
        partial.write_text(self.to_json() + "\n", encoding="utf-8")
        partial.replace(folder / RESULT)

    @classmethod
    def load_from(cls, folder: Path) -> Self:
        """Read a run's result.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        path = folder / RESULT
        try:
            text = path.read_text(encoding="utf-8").replace('"schema"', '"schema_version"', 1)
            return cls.model_validate_json(text)
        except OSError:
            raise UsageError(f"{folder} is not the folder of a run: it has no {RESULT}") from None
        except ValidationError as error:
            raise UsageError(f"{path} is damaged: {error.errors()[0]['msg']}") from None


def exit_code(results: list[Result]) -> ExitCode:
    """Return the exit code of several runs: the gravest one decides.

    An error outweighs inconclusive, which outweighs over budget: a pipeline must not take
    a run for judged that was not.
    """
    if not results:
        return ExitCode.NOTHING_JUDGED
    gravity = (Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.PASS)
    gravest = min((result.verdict for result in results), key=gravity.index)
    return _EXIT[gravest]

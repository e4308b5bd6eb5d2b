"""Judged runs as they lie on disk, with what decides whether two may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lossmeter.errors import AlteredError, UsageError
from lossmeter.judge.again import Judge
from lossmeter.model import plural
from lossmeter.plan.tables import first_problem
from lossmeter.record.facts import Facts
from lossmeter.record.files import read_bytes, why
from lossmeter.record.manifest import verify
from lossmeter.record.result import Result
from lossmeter.record.runs import RecordedRun
from lossmeter.report.saved import Environment, read_environment

LOAD_PLAN = "load-plan.json"


class LoadShape(BaseModel):
    """What was sent, as far as it must be the same: ``phases`` are rate and seconds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phases: tuple[tuple[float, float], ...]
    producers: int
    payload_bytes: int
    processes: int = 1

    def __str__(self) -> str:
        phases = ", then ".join(f"{rate:g}/s for {length_s:g} s" for rate, length_s in self.phases)
        by = plural(self.producers, "producer")
        if self.processes > 1:
            by += f" in each of {self.processes} load processes"
        return f"{phases} by {by}, {plural(self.payload_bytes, 'byte')} each"


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """One judged run.

    Attributes:
        at_once: how many runs there might be side by side, this one among them.
    """

    result: Result
    load: LoadShape | None
    environment: Environment
    at_once: int = 1

    @property
    def cell(self) -> tuple[str, str, str]:
        """Return experiment, target and runtime: runs with the same are repeats."""
        return self.result.experiment, self.result.target, self.result.runtime

    @property
    def judged(self) -> bool:
        """Return whether it says anything about its target."""
        return self.result.verdict.judged

    @property
    def what(self) -> str:
        """Return the cell in words."""
        return f"{self.result.experiment} on {self.result.target}"


def judged_runs(folders: Sequence[Path], judge: Judge) -> list[JudgedRun]:
    """Judge runs again and return what they depend on beside.

    Raises:
        UsageError: a folder is not a run's, or what it recorded is damaged.
        AlteredError: a run was altered since it was recorded, so nothing is shown of it.
    """
    return [_judged(folder, judge) for folder in folders]


def _judged(folder: Path, judge: Judge) -> JudgedRun:
    run = RecordedRun(folder, Facts.load(folder))
    try:
        verify(folder, run.facts.run_id, sealed=run.facts.sealed)
    except AlteredError as error:
        raise AlteredError(f"{folder.name}: {error}") from None
    return judged_run(folder, judge(run))


def judged_run(folder: Path, result: Result) -> JudgedRun:
    """Return a run's result with what it depends on.

    Raises:
        UsageError: its facts or its load plan are damaged.
    """
    load, at_once = _load_shape(folder / LOAD_PLAN), Facts.load(folder).at_once
    return JudgedRun(result, load, read_environment(folder), at_once)


def _load_shape(path: Path) -> LoadShape | None:
    try:
        return LoadShape.model_validate_json(read_bytes(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: it {why(error)}") from None
    except ValidationError as error:
        raise UsageError(f"{path} is damaged: {first_problem(error)}") from None


def check_repeats(runs: Sequence[JudgedRun]) -> None:
    """Make sure that runs of one cell asked the same of it.

    Raises:
        UsageError: two runs of one cell sent different loads, or one is there twice.
    """
    first: dict[tuple[str, str, str], JudgedRun] = {}
    seen: set[str] = set()
    for run in runs:
        if run.result.run_id in seen:
            raise UsageError(f"run {run.result.run_id} is named twice; it counts only once")
        seen.add(run.result.run_id)
        _same_load(first.setdefault(run.cell, run), run)


def check_comparable(
    runs: Sequence[JudgedRun], baseline: Sequence[JudgedRun], *, across_seeds: bool
) -> None:
    """Make sure that what two sides share was asked the same way.

    Raises:
        UsageError: nothing is shared; or the load, the runtime or the seeds differ.
    """
    cells, cells_before = {run.cell for run in runs}, {run.cell for run in baseline}
    shared = cells & cells_before
    for experiment, target, runtime in sorted(cells - shared):
        elsewhere = [r for e, t, r in cells_before - shared if (e, t) == (experiment, target)]
        if elsewhere:
            raise UsageError(
                f"{experiment} on {target} ran on runtime {runtime} and in the baseline on "
                f"{elsewhere[0]}; runs on different runtimes cannot be compared"
            )
    if not shared:
        raise UsageError(
            "the runs and the baseline have no experiment and target in common; "
            f"the baseline holds {', '.join(sorted({run.what for run in baseline})) or 'nothing'}"
        )
    for cell in sorted(shared):
        mine = [run for run in runs if run.cell == cell]
        before = [run for run in baseline if run.cell == cell]
        _same_load(before[0], mine[0])
        if not across_seeds:
            _same_seeds(mine, before)


def _same_load(one: JudgedRun, other: JudgedRun) -> None:
    if one.load is not None and other.load is not None and one.load != other.load:
        raise UsageError(
            f"{other.what}: {one.result.run_id} sent {one.load}, and {other.result.run_id} sent "
            f"{other.load}; runs of different loads cannot be compared"
        )


def _same_seeds(mine: Sequence[JudgedRun], before: Sequence[JudgedRun]) -> None:
    now, then = ({run.result.seed for run in side} for side in (mine, before))
    if now != then:
        raise UsageError(
            f"{mine[0].what}: the seeds are {_listed(now)} and in the baseline {_listed(then)}, so "
            "other events were sent; run with the same seeds, or allow it with --across-seeds"
        )


def _listed(seeds: set[int]) -> str:
    shown = [str(seed) for seed in sorted(seeds)]
    return ", ".join(shown[:5]) + (" …" if len(shown) > 5 else "")

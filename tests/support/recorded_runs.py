"""Recorded runs of a project, written by hand."""

from __future__ import annotations

from pathlib import Path

from lossmeter.record.result import Result
from tests.support.judged_runs import EVENTS, Run

PLAIN = "[crash.default]\nmax_lost = 0\n\n[control.default]\nmax_lost = 0\n"


def plain_budgets(project: Path) -> None:
    """Put budgets in force that runs written by hand, which are small, can be within."""
    (project / "experiments" / "budgets.toml").write_text(PLAIN)


def record(project: Path, name: str, *, lost: int = 0, **facts: object) -> Path:
    """Write a run under ``results/runs``: all acked, the first ``lost`` events not persisted."""
    folder = project / "results" / "runs" / name
    folder.mkdir(parents=True)
    reported: dict[str, object] = {"run_id": name, "experiment": "crash", "target": "channel"}
    run = Run(folder, reported | facts, rows=list(range(lost, EVENTS)))
    result: Result = run.judged()
    result.save(folder)
    return folder

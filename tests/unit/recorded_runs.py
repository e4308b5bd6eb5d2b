"""Recorded runs of a project, written by hand."""

from __future__ import annotations

from pathlib import Path

from harness.result import Result
from tests.unit.test_judge import EVENTS, Run


def record(project: Path, name: str, *, lost: int = 0, **facts: object) -> Path:
    """Write a run under ``results/runs``: all acked, the first ``lost`` events not persisted."""
    folder = project / "results" / "runs" / name
    folder.mkdir(parents=True)
    told: dict[str, object] = {"run_id": name, "experiment": "crash", "target": "channel"}
    run = Run(folder, told | facts, rows=list(range(lost, EVENTS)))
    result: Result = run.judged()
    result.save(folder)
    return folder

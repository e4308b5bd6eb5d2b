"""Judged runs written by hand, for matrices of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lossmeter.judge.verdict import judge_run
from lossmeter.report.matrix import cells_frame, runs_frame
from lossmeter.report.recorded import JudgedRun, judged_run
from tests.support.run_folders import Written


def frame(now: Sequence[JudgedRun], before: Sequence[JudgedRun] = ()) -> pd.DataFrame:
    """Return the cells of runs, with a baseline where there is one."""
    return cells_frame(runs_frame(now), runs_frame(before) if before else None)


class Runs:
    """Writes runs into a folder, each with a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0

    def one(self, **changes: object) -> JudgedRun:
        self.number += 1
        folder = self.folder / f"2026112{self.number:04}-run"
        return judged_run(Written(folder, **changes).save(), judge_run(folder))  # type: ignore[arg-type]

    def repeats(self, losses: Sequence[int], **changes: object) -> list[JudgedRun]:
        return [self.one(lost=lost, seed=n, **changes) for n, lost in enumerate(losses)]

    def tier(self, target: str, rate_per_s: float, **changes: object) -> JudgedRun:
        return self.one(
            experiment=f"rates-{rate_per_s:g}",
            target=target,
            rate_per_s=rate_per_s,
            events=500,
            fault=False,
            **changes,
        )

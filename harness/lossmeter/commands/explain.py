"""``lossmeter explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossmeter.commands._shared import OUT
from lossmeter.errors import UsageError


def command(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A folder under results/runs; default: the newest."),
    ] = None,
) -> None:
    """Say in plain words what a run did, what was lost and why, and what would keep it."""
    from lossmeter.judge.again import Wanted, judge_in_force, lack, matching, newest_of_each
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.record.runs import RecordedRun, named, newest, run_folder
    from lossmeter.report.explanation import explained
    from lossmeter.report.recorded import judged_runs

    catalogue = Catalogue.here()
    folder = run_folder(catalogue.runs, run or newest(catalogue.runs))
    (found,) = named([folder])
    if not isinstance(found, RecordedRun):
        raise UsageError(lack(found).reason)
    judge = judge_in_force(catalogue)
    # Of a run that was altered nothing is told.
    (judged,) = judged_runs([folder], judge)
    alike, _ = matching(catalogue.runs, Wanted(runtime=found.facts.runtime))
    asked = [each for each in alike if each.facts.experiment == found.facts.experiment]
    others = [judge(each) for each in newest_of_each(asked) if each.folder != found.folder]
    for text in explained(judged.result, found.facts, others):
        OUT.print(text, highlight=False, markup=False)

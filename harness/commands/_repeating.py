"""Running each cell several times, as ``run --repeat`` and ``run --until-decided`` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._running import run_all
from harness.commands._shared import ERR, OUT, show

if TYPE_CHECKING:
    from harness.catalogue import Catalogue, Cell
    from harness.errors import ExitCode
    from harness.monitor.watch import Watch
    from harness.repeats import Sequential, Summary
    from harness.result import Result
    from harness.runtime import Runtime
    from harness.shelf import Shelf

MOST_RUNS = 1000
RUNS_UNTIL_DECIDED = 20

Repeat = Annotated[
    int | None,
    typer.Option(
        "--repeat",
        min=1,
        max=MOST_RUNS,
        metavar="N",
        help=f"Run each N times; with --until-decided at most N, else {RUNS_UNTIL_DECIDED}.",
    ),
]
UntilDecided = Annotated[
    bool,
    typer.Option(
        "--until-decided",
        help="Repeat until a sequential test tells whether runs keep to the budget: over it in "
        "at most 5 % of runs, or in half of them and more; error rate 5 %.",
    ),
]


def wanted(repeat: int | None, until_decided: bool) -> Sequential | None:
    """Return the test that decides when to stop; None for a fixed number of runs."""
    from harness.repeats import Sequential

    return Sequential(maximum=repeat or RUNS_UNTIL_DECIDED) if until_decided else None


def run_repeatedly(
    cells: Sequence[Cell],
    runtime: Runtime,
    seed: int,
    catalogue: Catalogue,
    *,
    repeat: int,
    test: Sequential | None,
    json_file: Path | None,
    watch: Watch | None = None,
    shelf: Shelf | None = None,
) -> ExitCode:
    """Run each cell several times, show all runs and their summary, return the gravest code."""
    from harness.errors import HarnessError

    every: list[Result] = []
    summaries: list[Summary] = []
    try:
        for cell in cells:
            done: list[Result] = []
            try:
                until = repeat if test is None else test
                _repeat(cell, runtime, seed, catalogue, until, done, watch, shelf)
            finally:
                every += done
                if done:
                    summaries.append(_summary(done, test))
    except HarnessError:
        _tell(every, summaries, json_file)
        raise
    _tell(every, summaries, json_file)
    return _code(every, summaries)


def _repeat(
    cell: Cell,
    runtime: Runtime,
    seed: int,
    catalogue: Catalogue,
    until: int | Sequential,
    done: list[Result],
    watch: Watch | None,
    shelf: Shelf | None,
) -> None:
    """Add the runs of one cell to ``done``, each as soon as it is judged."""
    from harness.repeats import Decision, decided

    most = until if isinstance(until, int) else until.maximum
    for number in range(most):
        ERR.print(f"[dim]run {number + 1} of {'' if isinstance(until, int) else '≤ '}{most}[/dim]")
        done += run_all([cell], runtime, seed, catalogue, repeat=number, watch=watch, shelf=shelf)
        if not isinstance(until, int) and decided(done, until) is not Decision.UNDECIDED:
            return


def _summary(done: Sequence[Result], test: Sequential | None) -> Summary:
    from harness.repeats import summarise

    return summarise(done, test)


def _code(every: Sequence[Result], summaries: Sequence[Summary]) -> ExitCode:
    """Return the code of the gravest run; what stayed undecided says nothing."""
    from harness.errors import ExitCode
    from harness.repeats import Decision
    from harness.result import exit_code

    code = exit_code(list(every))
    open_ = any(summary.decision is Decision.UNDECIDED for summary in summaries)
    return ExitCode.INCONCLUSIVE if open_ and code is not ExitCode.HARNESS_ERROR else code


def _tell(every: Sequence[Result], summaries: Sequence[Summary], json_file: Path | None) -> None:
    from harness.report.repeats import repeats_table

    told = {
        "runs": [json.loads(result.to_json()) for result in every],
        "summary": [summary.model_dump(mode="json") for summary in summaries],
    }
    text = json.dumps(told, indent=2) + "\n"
    if json_file is not None and str(json_file) == "-":
        sys.stdout.write(text)
        return
    if json_file is not None:
        json_file.write_text(text, encoding="utf-8")
    show(every, None)
    if summaries:
        OUT.print(repeats_table(summaries))

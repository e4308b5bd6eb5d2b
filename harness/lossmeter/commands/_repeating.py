"""Running each cell several times, as ``run --repeat`` and ``run --until-decided`` do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import say

if TYPE_CHECKING:
    from lossmeter.errors import ExitCode
    from lossmeter.record.result import Result
    from lossmeter.studies.repeats import Sequential, Summary

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
        "at most 5 % of runs, or in half of them and more; error rate 5 %. What it decides is "
        "the exit code, whatever single runs came to.",
    ),
]


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often each cell is run.

    Attributes:
        most: runs at most.
        test: ends them as soon as it has decided; None for exactly ``most`` runs.
    """

    most: int
    test: Sequential | None = None

    @classmethod
    def asked(cls, repeat: int | None, until_decided: bool) -> Repeats | None:
        """Return what the options ask for; None for one run without a summary."""
        from lossmeter.plugins import need

        if until_decided or repeat is not None:
            need("scipy")
        if until_decided:
            from lossmeter.studies.repeats import Sequential

            most = repeat or RUNS_UNTIL_DECIDED
            return cls(most, Sequential(maximum=most))
        return None if repeat is None else cls(repeat)

    def runs(
        self, run: Callable[[int], Iterable[Result]], tell: Callable[[str], None] = say
    ) -> Iterator[Result]:
        """Yield the runs of one cell, each as soon as it is judged."""
        from lossmeter.studies.repeats import Decision, decided

        done: list[Result] = []
        for number in range(self.most):
            tell(f"run {number + 1} of {'≤ ' if self.test else ''}{self.most}")
            for result in run(number):
                done.append(result)
                yield result
            if self.test and decided(done, self.test) is not Decision.UNDECIDED:
                return

    def summaries(self, results: Sequence[Result]) -> list[Summary]:
        """Return what the runs of each cell say together."""
        from lossmeter.studies.repeats import summarise

        cells: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            cells.setdefault((result.experiment, result.target), []).append(result)
        return [summarise(runs, self.test) for runs in cells.values()]


def code_of(results: Sequence[Result], summaries: Sequence[Summary]) -> ExitCode:
    """Return the exit code: of the decisions where some were made, else of the gravest run.

    A run in which the instrument failed decides by itself.
    """
    from lossmeter.errors import ExitCode
    from lossmeter.record.result import exit_code
    from lossmeter.studies.repeats import Decision

    codes = {
        Decision.WITHIN: ExitCode.WITHIN_BUDGET,
        Decision.OVER: ExitCode.OVER_BUDGET,
        Decision.UNDECIDED: ExitCode.INCONCLUSIVE,
    }
    decided = [codes[each.decision] for each in summaries if each.decision is not None]
    own = exit_code(list(results))
    if not decided or own is ExitCode.HARNESS_ERROR:
        return own
    return ExitCode.gravest(decided)

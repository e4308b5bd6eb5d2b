"""Runs for a test suite: what the fixture ``lossless_run`` gives."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from rich.console import Console

from lossmeter.commands._running import Placed, prepare
from lossmeter.commands._shared import runtime_for, runtimes_named, seeded
from lossmeter.errors import InterruptedRunError, NotJudgedError, UsageError
from lossmeter.model import Counts, Verdict
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plan.tables import first_problem
from lossmeter.record.result import Result
from lossmeter.report.table import detail, result_table
from lossmeter.run.admission import check
from lossmeter.run.narrator import Silent
from lossmeter.run.story import Ask, run
from lossmeter.world.ownership import MARK

if TYPE_CHECKING:
    from lossmeter.world.runtime import Runtime

TABLE_WIDTH = 140
# What no budget can allow: an assertion on losses alone would not see it.
_VIOLATIONS = ("resurrected", "unexpected", "corrupted")
_COUNTS = frozenset(Counts().as_dict())


class LosslessRun:
    """One judged run, by the names of the ledger: ``run.lost``, ``run.acked``, …."""

    def __init__(self, result: Result, folder: Path, test: str) -> None:
        self.result = result
        self.folder = folder
        self.test = test

    def __getattr__(self, name: str) -> int:
        """Return a class's number of events.

        Raises:
            NotJudgedError: the target file does not let it be measured; 0 would be a lie.
            AttributeError: there is no such class.
        """
        if name not in _COUNTS:
            raise AttributeError(f"a run has no {name!r}; known are {', '.join(sorted(_COUNTS))}")
        if name in self.result.not_measured:
            needs = {
                "stranded": "[queue] has no pending",
                "late": "[queue] does not say redelivered_after_s, or rows bear no times",
            }.get(name, "persisted.query does not return the column that it needs")
            raise NotJudgedError(f"{name} was not measured on {self.result.target}: {needs}")
        number: int = getattr(self.result.counts, name)
        return number

    @property
    def within_budget(self) -> bool:
        """Return whether the run passed."""
        return self.result.verdict is Verdict.PASS

    @property
    def recovery_s(self) -> float | None:
        """Return the seconds from the fault until service was back; None if never seen."""
        return self.result.recovery_s

    @property
    def loss_ratio(self) -> float:
        """Return lost / acked."""
        return self.lost / self.acked

    def table(self) -> str:
        """Return the table that ``lossmeter run`` prints, and the details of the run."""
        text = io.StringIO()
        console = Console(file=text, width=TABLE_WIDTH, no_color=True)
        console.print(result_table([self.result]), detail(self.result))
        console.print(f"Folder: {self.folder}", soft_wrap=True, highlight=False, markup=False)
        return text.getvalue()

    def __repr__(self) -> str:
        """Return what a failed assertion shows of it."""
        result = self.result
        return (
            f"<{result.experiment} on {result.target}: {result.counts.lost:,} of "
            f"{result.counts.acked:,} acked events lost, seed {result.seed}, {result.verdict}>"
        )


class LosslessRunner:
    """Runs experiments when called; one for the whole session."""

    def __init__(self, config: pytest.Config, folders: pytest.TempPathFactory) -> None:
        self._config = config
        self._folders = folders
        self._runs: Path | None = None
        self.done: list[LosslessRun] = []

    def __call__(
        self,
        experiment: str,
        *,
        target: str,
        variant: str = "default",
        budget: Mapping[str, int | float] | None = None,
    ) -> LosslessRun:
        """Run one experiment on one target and return what was judged.

        Args:
            experiment: as in ``lossmeter list``.
            target: a name from ``lossmeter list``, or a TOML file: beside the test, under
                pytest's root folder, or in the working folder.
            variant: of the experiment.
            budget: bounds as in ``budgets.toml``. Default: the one of that file, or else
                that nothing may be lost.

        Raises:
            NotJudgedError: the run says nothing about the target, or the instrument failed.
            AssertionError: the target persisted what was refused, never sent, or altered.
            UsageError: it cannot be run as asked.
        """
        catalogue = Catalogue.here()
        cell = self._cell(catalogue, experiment, self._located(target), variant, budget)
        among = runtimes_named(self._config.getoption("--lossmeter-runtime"))
        runtime = runtime_for(cell.target, among)
        if why := check(cell, runtime):
            pytest.skip(f"{cell.name} on {cell.target.name}: {why}")
        made = self._run(cell, runtime)
        self.done.append(made)
        _demand_a_verdict(made)
        return made

    def _cell(
        self,
        catalogue: Catalogue,
        experiment: str,
        target: str,
        variant: str,
        budget: Mapping[str, int | float] | None,
    ) -> Cell:
        (found,) = cells(catalogue, catalogue.experiment(experiment), [target], [variant])
        bounds = found.budget or Budget(max_lost=0)
        if budget is not None:
            bounds = _bounds(budget)
        return Cell(found.experiment, found.variant, found.target, bounds)

    def _located(self, target: str) -> str:
        if not target.endswith(".toml") or Path(target).is_absolute():
            return target
        beside = Path(self._config.rootpath, _current_test().partition("::")[0]).parent
        for folder in (beside, self._config.rootpath, Path.cwd()):
            if (folder / target).is_file():
                return str(folder / target)
        raise UsageError(
            f"target file {target} is neither in {beside} nor in {self._config.rootpath}"
        )

    def _run(self, cell: Cell, runtime: Runtime) -> LosslessRun:
        ask = Ask(
            cell=cell,
            runtime=runtime,
            seed=seeded(self._config.getoption("--lossmeter-seed")),
            runs=self._runs_folder(),
            narrator=Silent(),
        )
        with _mark_for_preparing_only():
            prepare([Placed(cell, runtime)])
        try:
            result = run(ask)
        except InterruptedRunError:
            # The whole session is to end, as it does when any other test is interrupted.
            raise KeyboardInterrupt from None
        return LosslessRun(result, ask.runs / result.run_id, _current_test())

    def _runs_folder(self) -> Path:
        if self._runs is None:
            asked = self._config.getoption("--lossmeter-runs")
            self._runs = Path(asked).resolve() if asked else self._folders.mktemp("lossmeter")
        return self._runs


def _demand_a_verdict(made: LosslessRun) -> None:
    result = made.result
    if not result.verdict.judged:
        raise NotJudgedError(f"{result.experiment} on {result.target}: {result.reason}")
    found = {name: getattr(result.counts, name) for name in _VIOLATIONS}
    if any(found.values()):
        raise AssertionError(f"{result.experiment} on {result.target}: {result.reason}")


def _bounds(budget: Mapping[str, int | float]) -> Budget:
    try:
        return Budget.model_validate(dict(budget))
    except ValidationError as error:
        raise UsageError(
            f"budget: {first_problem(error)}; known bounds are {', '.join(Budget.model_fields)}"
        ) from None


@contextmanager
def _mark_for_preparing_only() -> Iterator[None]:
    """Keep the mark of the harness off what the suite's own tests start."""
    before = os.environ.get(MARK)
    try:
        yield
    finally:
        os.environ.pop(MARK, None)
        if before is not None:
            os.environ[MARK] = before


def _current_test() -> str:
    """Return the id of the test that runs, as pytest reports it."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]


def tables(test: str, fixtures: Mapping[str, object]) -> list[str]:
    """Return the tables of the runs that a test made, or was given by its fixtures."""
    given = [value for value in fixtures.values() if isinstance(value, LosslessRun)]
    runners = [value for value in fixtures.values() if isinstance(value, LosslessRunner)]
    made = [each for runner in runners for each in runner.done if each.test == test]
    return [each.table() for each in dict.fromkeys([*given, *made])]

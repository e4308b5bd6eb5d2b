"""Judges recorded runs again from disk; starts nothing, writes nothing, believes no result.json.

Whatever shows or decides by a recorded run (gate, report, compare, results, history, serve)
takes its result from here, so all of them judge alike: what was altered since it was
recorded is an error, and the budget is the one in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from lossmeter.errors import HarnessError, UsageError
from lossmeter.experiment import Experiment, Variant
from lossmeter.judge.verdict import judge_facts
from lossmeter.plan.budget import Budget, Budgets, load_budgets
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.facts import Facts
from lossmeter.record.outcome import Lack, Outcome, Unjudged
from lossmeter.record.result import Result
from lossmeter.record.runs import DamagedRun, RecordedRun, named, recorded_runs, slug

ANY = "any"
Runs = Sequence[RecordedRun | DamagedRun]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which recorded runs are asked for.

    Attributes:
        cells: experiment with variant, and target: each must have a run; empty when no
            experiment was named.
        targets: names of targets; empty for all.
        runtime: name of a runtime; None for all.
        since: runs begun earlier do not count; None for all.
    """

    cells: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] = ()
    runtime: str | None = None
    since: datetime | None = None

    def but(self, *, runtime: str | None, since: datetime | None) -> Wanted:
        """Return the same, of one runtime or all, begun since an instant or at any time."""
        return replace(self, runtime=runtime, since=since)

    def takes(self, run: RecordedRun) -> bool:
        """Return whether a run is one of these; one without a recorded time is never new."""
        facts = run.facts
        return (
            (not self.cells or (facts.experiment, facts.target) in self.cells)
            and (not self.targets or facts.target in self.targets)
            and self.runtime in {None, facts.runtime}
            and (self.since is None or (facts.begun is not None and facts.begun >= self.since))
        )

    def may_take_damaged(self, run: DamagedRun) -> bool:
        """Return whether a run that does not give its target may be one of these."""
        names = {experiment for experiment, _ in self.cells}
        named = not names or run.experiment is None or run.experiment in names
        return named and (self.since is None or run.begun >= self.since)


def matching(runs: Path, wanted: Wanted) -> tuple[list[RecordedRun], list[Unjudged]]:
    """Return the runs that are asked for, the oldest first, and the damaged ones.

    A damaged run counts until later ones make up for it.

    Raises:
        UsageError: the runs cannot be listed.
    """
    every = recorded_runs(runs)
    found = [run for run in every if isinstance(run, RecordedRun) and wanted.takes(run)]
    damaged = [
        run
        for place, run in enumerate(every)
        if isinstance(run, DamagedRun)
        and wanted.may_take_damaged(run)
        and not _made_up(run, every[:place], every[place + 1 :], wanted)
    ]
    return found, [lack(each) for each in damaged]


def _made_up(run: DamagedRun, before: Runs, after: Runs, wanted: Wanted) -> bool:
    """Return whether later runs of its experiment stand in for a damaged one.

    One that was cut short had nothing to say. Any other may have been a fail of any target:
    where an older run of one would count in its place, the damaged one still does.
    """
    later = {_cell(each.facts) for each in _of(run.experiment, after)}
    asked = wanted.but(runtime=wanted.runtime, since=None)
    earlier = {_cell(each.facts) for each in _of(run.experiment, before) if asked.takes(each)}
    return bool(later) and (not run.ended or earlier <= later)


def _of(experiment: str | None, runs: Runs) -> Iterator[RecordedRun]:
    return (
        r for r in runs if isinstance(r, RecordedRun) and slug(r.facts.experiment) == experiment
    )


def chosen(
    runs: Path, folders: Sequence[Path], wanted: Wanted
) -> tuple[list[RecordedRun], list[Unjudged]]:
    """Return the same of these folders, or where none is named as ``matching`` does.

    Raises:
        UsageError: the runs cannot be listed, or a folder is not a run's.
    """
    if not folders:
        return matching(runs, wanted)
    every = named(folders)
    found = [run for run in every if isinstance(run, RecordedRun) and wanted.takes(run)]
    return found, [lack(run) for run in every if isinstance(run, DamagedRun)]


def lack(run: DamagedRun) -> Unjudged:
    """Return what stands in the place of a damaged run's result."""
    name = run.experiment or run.folder.name
    reason = (
        f"damaged: {run.folder.name}: {run.why}; it was cut short, or still runs, or was "
        "changed: remove the folder if none of them matters"
    )
    return Unjudged(name, ANY, ANY, Lack.DAMAGED, reason)


def newest_of_each(found: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Return the last run of each experiment, target and runtime; ``found`` oldest first.

    Copies of one run were begun at the same time, and all of them count: one may be altered.
    """
    last = {_cell(run.facts): run.facts.begun for run in found}
    return [run for run in found if run.facts.begun == last[_cell(run.facts)]]


def _cell(facts: Facts) -> tuple[str, str, str]:
    return facts.experiment, facts.target, facts.runtime


@dataclass(slots=True)
class Judge:
    """Judges recorded runs by the budgets in force.

    Attributes:
        catalogue: its budgets are in force, unless others are given.
        budgets: those that are given; then no others count.
    """

    catalogue: Catalogue
    given: Budgets | None = None
    _budgets: Budgets = field(init=False)
    _variants: Mapping[str, tuple[Experiment, Variant]] | None = None

    def __post_init__(self) -> None:
        self._budgets = self.catalogue.budgets() if self.given is None else self.given

    @property
    def budgets(self) -> str:
        """Return a text that changes with the budgets in force."""
        return repr(self._budgets)

    def __call__(self, run: RecordedRun) -> Result:
        """Return the judgement of a run; an error where it was altered or cannot be read."""
        recorded, timings_s = run.facts.budget, run.facts.timings_s
        budget, in_force = self._budget(run.facts)
        facts = run.facts.model_copy(update={"budget": budget})
        spent: dict[str, float] = {}
        result = judge_facts(run.folder, facts, spent)
        notes = list(result.notes)
        if in_force and budget != recorded:
            notes.append(f"judged by {_bounds(budget)}, as in force; recorded: {_bounds(recorded)}")
        if not in_force and recorded is not None:
            notes.append("no budget is in force for it: judged by the one it was recorded with")
        return result.model_copy(update={"notes": notes, "timings_s": spent | timings_s})

    def _budget(self, facts: Facts) -> tuple[Budget | None, bool]:
        """Return the budget that a run is judged by, and whether it is in force."""
        found = self._budgets.of_run(facts.question, facts.target)
        if found is None and self.given is None:
            found = self._own_bounds(facts.question)
            if found is None:
                return facts.budget, False
        if found is not None and facts.asked:
            found = found.scaled(facts.load_scale, exact=facts.exact)
        return found, True

    def _own_bounds(self, name: str) -> Budget | None:
        """Return the bounds that an experiment of the catalogue brings itself."""
        if self._variants is None:
            try:
                self._variants = self.catalogue.variants()
            except HarnessError:
                self._variants = {}
        if name not in self._variants:
            return None
        experiment, _ = self._variants[name]
        return Budget.model_validate(dict(experiment.bounds)) if experiment.bounds else None


def _bounds(budget: Budget | None) -> str:
    given = {} if budget is None else budget.model_dump(exclude_none=True)
    return ", ".join(f"{name} = {bound}" for name, bound in given.items()) or "no budget"


def judge_in_force(catalogue: Catalogue, file: Path | None = None) -> Judge:
    """Return what judges by the catalogue's budgets, or by those of a file.

    Raises:
        UsageError: the file does not exist, or a budget is wrong.
    """
    if file is None:
        return Judge(catalogue)
    try:
        there = file.is_file()
    except OSError as error:
        raise UsageError(f"--budgets {file} cannot be read: {error.strerror}") from None
    if not there:
        raise UsageError(f"--budgets {file} does not exist")
    return Judge(catalogue, load_budgets(file))


def lacking(wanted: Wanted, results: Sequence[Result]) -> list[Outcome]:
    """Return what was asked for and has no run."""
    have = {(result.experiment, result.target) for result in results}
    late = f" since {wanted.since:%Y-%m-%d %H:%M} UTC" if wanted.since else ""
    return [
        Unjudged(
            experiment,
            target,
            wanted.runtime or ANY,
            Lack.MISSING,
            f"asked for, and no run of it is recorded{late}",
        )
        for experiment, target in wanted.cells
        if (experiment, target) not in have
    ]

"""Finds recorded runs and judges them again from disk; starts nothing and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.budget import Budgets
from harness.catalogue import Catalogue
from harness.errors import UsageError
from harness.facts import Facts
from harness.judge import judge_facts
from harness.outcome import Lack, Outcome, Unjudged
from harness.result import Result

ANY = "any"
_FOLDER = re.compile(r"^(\d{8}T\d{6}Z)-(.+)-\d+$")


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

    def takes(self, folder: Path, facts: Facts) -> bool:
        """Return whether a run is one of these."""
        return (
            (not self.cells or (facts.experiment, facts.target) in self.cells)
            and (not self.targets or facts.target in self.targets)
            and self.runtime in {None, facts.runtime}
            and self.new_enough(folder)
        )

    def new_enough(self, folder: Path) -> bool:
        """Return whether a run was begun late enough; one that does not tell was not."""
        if self.since is None:
            return True
        begun = begun_at(folder)
        return begun is not None and begun >= self.since

    def may_take_damaged(self, folder: Path) -> bool:
        """Return whether a run that does not tell its target may be one of these."""
        names = {experiment for experiment, _ in self.cells}
        return (not names or _experiment_of(folder) in names) and self.new_enough(folder)


def begun_at(folder: Path) -> datetime | None:
    """Return when a run began, from its folder's name; None when that does not tell."""
    match = _FOLDER.match(folder.name)
    try:
        begun = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ") if match else None  # noqa: DTZ007
    except ValueError:
        return None
    return begun.replace(tzinfo=UTC) if begun else None


def _experiment_of(folder: Path) -> str:
    match = _FOLDER.match(folder.name)
    return match[2] if match else ""


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of all runs, the oldest first."""
    return sorted(path for path in runs.glob("*-*") if path.is_dir() and not path.is_symlink())


def matching(runs: Path, wanted: Wanted) -> tuple[list[tuple[Path, Facts]], list[Unjudged]]:
    """Return the runs that are asked for, the oldest first, and the damaged ones.

    A damaged run is told of until a later one of the same experiment is whole.
    """
    found: list[tuple[Path, Facts]] = []
    damaged: dict[Path, str] = {}
    for folder in run_folders(runs):
        try:
            facts = Facts.load(folder)
        except UsageError as error:
            if wanted.may_take_damaged(folder):
                damaged[folder] = str(error)
            continue
        damaged = {d: why for d, why in damaged.items() if _experiment_of(d) != facts.experiment}
        if wanted.takes(folder, facts):
            found.append((folder, facts))
    return found, [_damaged(folder, why) for folder, why in damaged.items()]


def _damaged(folder: Path, why: str) -> Unjudged:
    reason = f"the run was cut short, or still runs: {why}; remove the folder if neither matters"
    return Unjudged(_experiment_of(folder) or folder.name, ANY, ANY, Lack.DAMAGED, reason)


def newest_of_each(found: Sequence[tuple[Path, Facts]]) -> list[tuple[Path, Facts]]:
    """Return the last run of each experiment, target and runtime."""
    last = {(f.experiment, f.target, f.runtime): (folder, f) for folder, f in found}
    return list(last.values())


def judged(
    found: Sequence[tuple[Path, Facts]], catalogue: Catalogue, budgets: Budgets | None
) -> list[Result]:
    """Judge runs again, by the budget that each was run with, or by other budgets."""
    if budgets is None:
        return [judge_facts(folder, facts) for folder, facts in found]
    variants = catalogue.variants()
    results = []
    for folder, facts in found:
        budget = None
        if facts.experiment in variants:
            experiment, variant = variants[facts.experiment]
            budget = budgets.find(experiment.name, variant.name, facts.target)
        results.append(judge_facts(folder, facts.model_copy(update={"budget": budget})))
    return results


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

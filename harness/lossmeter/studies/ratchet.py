"""Tightens budgets to what recorded runs needed, with a margin; never loosens one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from lossmeter.errors import UsageError
from lossmeter.experiment import Experiment, Variant
from lossmeter.model import Verdict, plural, without_numbers
from lossmeter.plan.budget import PREDICTED, Budget, Budgets
from lossmeter.record.result import Result

# What each bound is compared with, and the step that it is rounded up to.
_BOUNDS: Mapping[str, Decimal] = {
    "max_lost": Decimal(1),
    "max_loss_ratio": Decimal("0.0001"),
    "max_duplicated": Decimal(1),
    "max_unresolved": Decimal(1),
    "recovery_s_max": Decimal("0.1"),
}

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """When a budget may be tightened, and how far.

    Attributes:
        margin: part of the worst measurement that is added to it, e.g. 0.2.
    """

    margin: float
    min_runs: int


@dataclass(frozen=True, slots=True)
class Tightening:
    """One bound that can be tightened."""

    path: Path
    bound: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be changed.

    Attributes:
        kept: the budgets that stay as they are, and why.
        elsewhere: cells with runs whose budget is in another file, or in the experiment's own.
        here: there are runs of others, too, or none at all.
    """

    changes: tuple[Tightening, ...]
    kept: tuple[tuple[str, str], ...]
    runtimes: tuple[str, ...]
    elsewhere: tuple[tuple[str, str], ...] = ()
    here: bool = True


def plan(
    results: Sequence[Result],
    budgets: Budgets,
    variants: Mapping[str, tuple[Experiment, Variant]],
    terms: Terms,
) -> Plan:
    """Return which bounds recorded runs allow to tighten.

    A budget is tightened only when every target that it stands for has enough conclusive
    runs on every runtime in use, and none of these runs fails. Runs with numbers of a command
    line say nothing of it. Of an experiment that is not among the variants, as one that was
    given by its path, the targets are those that it ran on.
    """
    results = [r for r in results if r.experiment == without_numbers(r.experiment)]
    ran = dict.fromkeys((result.experiment, result.target) for result in results)
    elsewhere = tuple(cell for cell in ran if budgets.place_of_run(*cell) is None)
    conclusive = [r for r in results if r.verdict.judged]
    runtimes = sorted({result.runtime for result in conclusive})
    changes: list[Tightening] = []
    kept: list[tuple[str, str]] = []
    for path, group in _by_budget(conclusive, budgets, variants).items():
        needed = group.needed | {result.target for result in group.results}
        why = _too_few(group.results, needed, runtimes, terms) or _failing(group.results)
        found = [] if why else _changes(path, group.results, budgets.at(path), terms)
        changes += found
        if not found:
            kept.append((".".join(path), why or "the runs need what it allows"))
    here = not ran or len(elsewhere) < len(ran)
    return Plan(tuple(changes), tuple(kept), tuple(runtimes), elsewhere, here)


@dataclass(slots=True)
class _Group:
    """The runs that one budget stands for, and the targets that must be among them."""

    results: list[Result]
    needed: set[str]


def _by_budget(
    results: Sequence[Result],
    budgets: Budgets,
    variants: Mapping[str, tuple[Experiment, Variant]],
) -> dict[Path, _Group]:
    groups: dict[Path, _Group] = {}
    for result in results:
        path = budgets.place_of_run(result.experiment, result.target)
        if path is None:
            continue
        if path not in groups:
            groups[path] = _Group([], set())
        groups[path].results.append(result)
        if result.experiment in variants:
            experiment, variant = variants[result.experiment]
            groups[path].needed |= {
                target
                for target in variant.targets or experiment.targets
                if budgets.place_of_run(result.experiment, target) == path
            }
    return groups


def _too_few(
    results: Sequence[Result], needed: set[str], runtimes: Sequence[str], terms: Terms
) -> str | None:
    for runtime in runtimes:
        for target in sorted(needed):
            runs = sum(r.target == target and r.runtime == runtime for r in results)
            if runs < terms.min_runs:
                return (
                    f"{runs} conclusive runs of {target} on runtime {runtime}, "
                    f"{terms.min_runs} are needed"
                )
    return None


def _failing(results: Sequence[Result]) -> str | None:
    failing = [result for result in results if result.verdict is Verdict.FAIL]
    if not failing:
        return None
    fail = "fails" if len(failing) == 1 else "fail"
    of = plural(len(results), "run")
    return f"{len(failing):,} of {of} {fail}, e.g. {failing[0].run_id}"


def _changes(
    path: Path, results: Sequence[Result], budget: Budget, terms: Terms
) -> list[Tightening]:
    found = []
    for bound, step in _BOUNDS.items():
        old = getattr(budget, bound)
        # What is predicted of each run is as tight as it can be.
        if old is None or old == PREDICTED:
            continue
        readings = [_reading(result, bound) for result in results]
        known = [reading for reading in readings if reading is not None]
        if len(known) < len(results):
            continue
        new = _with_margin(max(known), terms.margin, step)
        if new < Decimal(str(old)):
            found.append(Tightening(path, bound, old, int(new) if step == 1 else float(new)))
    return found


def _reading(result: Result, bound: str) -> float | None:
    """Return what a run measured of what a bound bounds; None where it did not."""
    counts = result.counts
    if bound == "recovery_s_max":
        return result.recovery_s
    name = {"max_loss_ratio": "lost"}.get(bound, bound.removeprefix("max_"))
    if name in result.not_measured:
        return None
    number: int = getattr(counts, name)
    return number / counts.acked if bound == "max_loss_ratio" else number


def _with_margin(worst: float, margin: float, step: Decimal) -> Decimal:
    """Return the worst measurement with its margin, rounded up to a whole step."""
    if not math.isfinite(worst):
        return Decimal("Infinity")
    wanted = Decimal(str(worst)) * (1 + Decimal(str(margin)))
    return (wanted / step).to_integral_value(ROUND_CEILING) * step


def tightened(text: str, changes: Sequence[Tightening]) -> str:
    """Return the text of a budgets file with the changes made and all else as it was.

    Raises:
        UsageError: the file is written in a way that cannot be edited.
    """
    try:
        document = tomlkit.parse(text)
        for change in changes:
            table: object = document
            for part in change.path:
                table = table[part]  # type: ignore[index]
            table[change.bound] = change.new  # type: ignore[index]
    except (TOMLKitError, TypeError) as error:
        raise UsageError(f"the budgets file cannot be edited: {error}") from None
    return tomlkit.dumps(document)

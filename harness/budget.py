"""Bounds on what a run may cost, and the judgement against them.

The order is error > inconclusive > fail > pass: what could not be measured is never a
pass, and a run that does not prove its fault says nothing about the target.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.model import Counts, Judgement, Verdict

Bound = Annotated[int, Field(ge=0)]
ANY_TARGET = "default"

# What each bound is a bound on; void counts are 0, and must not look like a good result.
_MEASURED_BY = {
    "max_lost": "lost",
    "max_loss_ratio": "lost",
    "max_duplicated": "duplicated",
    "max_unresolved": "unresolved",
}


class Budget(BaseModel):
    """What one run may cost; a bound that is not given is not judged.

    ``max_lost``, ``max_duplicated``, ``max_unresolved``, ``min_sent`` and ``min_acked``
    count events;
    ``max_loss_ratio`` is lost / acked; ``recovery_s_max`` is in seconds.
    """

    # Strict, because true or "5" is a mistake; finite, because nothing is ever above NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    max_lost: Bound | None = None
    max_loss_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    max_duplicated: Bound | None = None
    max_unresolved: Bound | None = None
    min_sent: Bound | None = None
    min_acked: Bound | None = None
    recovery_s_max: Annotated[float, Field(ge=0)] | None = None

    @property
    def empty(self) -> bool:
        """Return whether no bound on a loss or cost is given; a least number is none."""
        return all(v is None for k, v in self.model_dump().items() if not k.startswith("min_"))


# Experiment and target, or experiment, variant and target.
_DEPTHS = (2, 3)


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of all experiments: per experiment, optionally per variant, per target."""

    tables: Mapping[str, object]
    file: Path

    def find(self, experiment: str, variant: str, target: str) -> Budget | None:
        """Return the most specific budget; None when there is none.

        Looked up in this order: the target's own table, then ``default``. A variant is
        looked up among its own tables only: its load differs, so the bounds of the
        experiment without it say nothing about it.

        Raises:
            UsageError: the budget that applies is wrong.
        """
        path = self.place(experiment, variant, target)
        return None if path is None else self.at(path)

    def at(self, path: Sequence[str]) -> Budget:
        """Return the budget in the table of that path.

        Raises:
            UsageError: it is wrong.
        """
        return self._budget(path, self._table(path))

    def place(self, experiment: str, variant: str, target: str) -> tuple[str, ...] | None:
        """Return the path of the table that holds the budget ``find`` returns."""
        where = (experiment, variant) if variant else (experiment,)
        table = self._table(where)
        for name in (target, ANY_TARGET):
            if isinstance(table.get(name), dict):
                return (*where, name)
        return None

    def check(self) -> None:
        """Read every budget, so that a mistake in any of them is told at once.

        Raises:
            UsageError: a budget is wrong.
        """
        for path, table in _leaves(self.tables, ()):
            if not isinstance(table, dict) or len(path) not in _DEPTHS:
                raise UsageError(
                    f"{self.file}: {'.'.join(path)} is in the wrong place; bounds go under "
                    "[EXPERIMENT.TARGET] or [EXPERIMENT.VARIANT.TARGET]"
                )
            self._budget(list(path), table)

    def _table(self, path: Sequence[str]) -> Mapping[str, object]:
        table: object = self.tables
        for part in path:
            table = table.get(part, {}) if isinstance(table, dict) else {}
        return table if isinstance(table, dict) else {}

    def _budget(self, path: Sequence[str], table: object) -> Budget:
        try:
            return Budget.model_validate(table)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise UsageError(
                f"{self.file}: [{'.'.join(path)}] {key}: {problem['msg']}; known bounds are "
                + ", ".join(Budget.model_fields)
            ) from None


def _leaves(
    table: Mapping[str, object], path: tuple[str, ...]
) -> Sequence[tuple[tuple[str, ...], object]]:
    """Return what holds bounds rather than further tables, and bounds outside any table."""
    found: list[tuple[tuple[str, ...], object]] = []
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    if not path:
        found += [((name,), value) for name, value in table.items() if name not in inner]
    elif not inner or len(inner) < len(table):
        found.append((path, table))
    for name, value in inner.items():
        found += _leaves(value, (*path, name))
    return found


def load_budgets(path: Path) -> Budgets:
    """Read ``budgets.toml``; a missing file means no budgets, so nothing can pass.

    Raises:
        UsageError: it cannot be read, is not TOML, or a budget in it is wrong or misplaced.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        tables = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    budgets = Budgets(tables, path)
    budgets.check()
    return budgets


@dataclass(frozen=True, slots=True)
class Findings:
    """What a judgement rests on besides the counts.

    Attributes:
        errors: why the instrument itself failed.
        doubts: why the run says nothing about the target.
        not_measured: classes that were not measured.
        recovery_s: seconds until service was back; None when not measured.
    """

    errors: Sequence[str] = ()
    doubts: Sequence[str] = ()
    not_measured: frozenset[str] = frozenset()
    recovery_s: float | None = None


def judge(counts: Counts, budget: Budget | None, findings: Findings) -> Judgement:
    """Return the verdict: error > inconclusive > fail > pass.

    Fails regardless of any budget: events persisted that were refused, never sent, or
    altered. No budget can allow a target to lie.
    """
    if findings.errors:
        return _judgement(Verdict.ERROR, findings.errors)
    doubts = [*findings.doubts, *_doubts(counts, budget, findings)]
    if doubts or budget is None:
        return _judgement(Verdict.INCONCLUSIVE, doubts)
    breaches = [*_violations(counts), *_breaches(counts, budget, findings)]
    if breaches:
        return _judgement(Verdict.FAIL, breaches)
    return Judgement(Verdict.PASS, f"within budget: {_within(counts)}")


def _judgement(verdict: Verdict, reasons: Sequence[str]) -> Judgement:
    return Judgement(verdict, "; ".join(reasons), tuple(reasons))


def _doubts(counts: Counts, budget: Budget | None, findings: Findings) -> list[str]:
    doubts = []
    if counts.sent == 0:
        doubts.append("nothing was sent")
    elif counts.acked == 0:
        doubts.append("nothing was acked, so nothing could be lost")
    if budget is None or budget.empty:
        return [*doubts, "no budget says what this run may cost"]
    if budget.min_sent is not None and counts.sent < budget.min_sent:
        doubts.append(f"only {counts.sent} events were sent, min_sent is {budget.min_sent}")
    if budget.min_acked is not None and counts.acked < budget.min_acked:
        doubts.append(f"only {counts.acked} events were acked, min_acked is {budget.min_acked}")
    if budget.recovery_s_max is not None and not _is_seen(findings.recovery_s):
        doubts.append("recovery_s_max is set, and recovery was never seen")
    for bound, name in _MEASURED_BY.items():
        if getattr(budget, bound) is not None and name in findings.not_measured:
            doubts.append(f"{bound} is set, and {name} was never measured")
    return doubts


def _is_seen(recovery_s: float | None) -> bool:
    """Return whether a recovery was measured; NaN is no measurement, and never above a bound."""
    return recovery_s is not None and math.isfinite(recovery_s)


def _violations(counts: Counts) -> list[str]:
    told = {
        "resurrected": "refused events were persisted",
        "unexpected": "rows were persisted that nobody sent",
        "corrupted": "events were persisted with another payload",
    }
    found = {name: getattr(counts, name) for name in told}
    return [f"{number} {told[name]}" for name, number in found.items() if number]


def _breaches(counts: Counts, budget: Budget, findings: Findings) -> list[str]:
    return [
        f"{reading.name} {reading.value:.6g} is above the budget of {reading.bound:.6g}"
        for reading in readings(counts, budget, findings.recovery_s)
        if reading.value is not None and reading.value > reading.bound
    ]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured beside its bound.

    Attributes:
        key: the bound's name in ``budgets.toml``.
        name: what is bounded, in words.
        value: None when it was not measured.
    """

    key: str
    name: str
    value: float | None
    bound: float


def readings(counts: Counts, budget: Budget, recovery_s: float | None) -> list[Reading]:
    """Return what each upper bound of a budget is compared with."""
    ratio = counts.lost / counts.acked if counts.acked else None
    every: list[tuple[str, str, float | None]] = [
        ("max_lost", "lost", counts.lost),
        ("max_loss_ratio", "lost / acked", ratio),
        ("max_duplicated", "duplicated", counts.duplicated),
        ("max_unresolved", "unresolved", counts.unresolved),
        ("recovery_s_max", "recovery in s", recovery_s),
    ]
    return [
        Reading(key, name, value, bound)
        for key, name, value in every
        if (bound := getattr(budget, key)) is not None
    ]


def _within(counts: Counts) -> str:
    return f"{counts.lost} of {counts.acked} acked events lost, {counts.duplicated} duplicated"

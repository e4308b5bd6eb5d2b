"""Budgets: what one run may cost, by experiment, variant and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmeter.errors import UsageError
from lossmeter.plan.tables import read_tables

Bound = Annotated[int, Field(ge=0)]
ANY_TARGET = "default"
# As a bound on the loss: no more than the model says of the very run.
PREDICTED: Final = "predicted"


class Budget(BaseModel):
    """What one run may cost.

    ``max_loss_ratio`` is lost / acked, ``recovery_s_max`` is in seconds, all others count
    events. ``max_lost`` may be ``"predicted"``: what the model says of the very run, and its
    tolerance. Lost events are allowed only where ``max_lost`` or ``max_loss_ratio`` says so, those
    that are dead-lettered, pending or stranded only where ``max_dead_lettered``, ``max_pending``
    or ``max_stranded`` does; no other bound is judged unless given.
    """

    # Strict, because true or "5" is a mistake; finite, because nothing is ever above NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    max_lost: Bound | Literal["predicted"] | None = None
    max_loss_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    max_duplicated: Bound | None = None
    max_unresolved: Bound | None = None
    max_dead_lettered: Bound | None = None
    max_pending: Bound | None = None
    max_stranded: Bound | None = None
    max_late: Bound | None = None
    max_reordered: Bound | None = None
    min_sent: Bound | None = None
    min_acked: Bound | None = None
    min_delivered: Bound | None = None
    recovery_s_max: Annotated[float, Field(ge=0)] | None = None

    @property
    def empty(self) -> bool:
        """Return whether no bound on a loss or cost is given.

        How much a run must have sent and got acked to say anything is none.
        """
        reported = self.model_dump(exclude={"min_sent", "min_acked"})
        return all(bound is None for bound in reported.values())

    def scaled(self, scale: float, *, exact: bool) -> Budget:
        """Return the same for another load of an experiment.

        Args:
            scale: how many times as many events are sent. What a run must have sent or got
                done at least shrinks with them; what it may cost stays.
            exact: the loss is known beforehand, and another one for another load.
        """
        least = {
            name: int(bound * min(1.0, scale))
            for name in ("min_sent", "min_acked", "min_delivered")
            if (bound := getattr(self, name)) is not None
        }
        lost = {"max_lost": PREDICTED} if exact and self.max_lost is not None else {}
        return self.model_copy(update=least | lost)


# Experiment and target, or experiment, variant and target.
_DEPTHS = (2, 3)


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of all experiments: per experiment, optionally per variant, per target.

    Attributes:
        tables: as the file has them.
        file: that was read, for the sentences of errors.
        under: budgets that apply where these have none.
    """

    tables: Mapping[str, object]
    file: Path
    under: Budgets | None = None

    def find(self, experiment: str, variant: str, target: str) -> Budget | None:
        """Return the most specific budget; None when there is none.

        Looked up in this order: the target's own table, then ``default``. A variant is
        looked up among its own tables only: its load differs, so the bounds of the
        experiment without it say nothing about it.

        Raises:
            UsageError: the budget that applies is wrong.
        """
        path = self.place(experiment, variant, target)
        if path is not None:
            return self.at(path)
        return self.under.find(experiment, variant, target) if self.under else None

    def of_run(self, name: str, target: str) -> Budget | None:
        """Return the budget of a run by the name that it carries: EXPERIMENT[-VARIANT].

        Raises:
            UsageError: the budget that applies is wrong.
        """
        if (path := self.place_of_run(name, target)) is not None:
            return self.at(path)
        return self.under.of_run(name, target) if self.under else None

    def place_of_run(self, name: str, target: str) -> tuple[str, ...] | None:
        """Return the path of this file's table that holds the budget ``of_run`` returns."""
        for experiment in sorted(self.tables, key=len, reverse=True):
            rest = name.removeprefix(experiment)
            if name.startswith(experiment) and rest[:1] in {"", "-"}:
                path = self.place(experiment, rest[1:], target)
                if path is not None:
                    return path
        return None

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
        """Read every budget, so that a mistake in any of them is reported at once.

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
            key = str(problem["loc"][0]) if problem["loc"] else ""
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
    tables = read_tables(path, "budgets file") if path.exists() else {}
    budgets = Budgets(tables, path)
    budgets.check()
    return budgets

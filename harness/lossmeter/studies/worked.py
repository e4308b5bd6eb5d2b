"""The worked numbers of the analysis, each beside what several runs show.

They are data, in ``experiments/worked-numbers.toml``: what names an experiment that is not
there yet is a number not run, and joins by itself when the experiment comes.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmeter.errors import UsageError
from lossmeter.judge.ledger.measures import MEASURES
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plan.tables import first_problem, read_tables

FILE = "worked-numbers.toml"


class Number(BaseModel):
    """One number as the analysis says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str
    value: float
    experiment: str
    variant: str = "default"
    target: str
    measure: str
    tolerance: Annotated[float, Field(ge=0)]
    reason: str

    @property
    def unit(self) -> str:
        """Return the unit of its measure."""
        return MEASURES[self.measure].unit if self.measure in MEASURES else ""


class Row(BaseModel):
    """One number beside what runs showed.

    Attributes:
        predicted: by the model in each judged run; ``measured``: the same measured.
        runs: names of the judged runs; ``made``: how many were made.
        why_not: why it was not run; empty when it was.
    """

    model_config = ConfigDict(extra="forbid")

    number: Number
    unit: str
    predicted: list[float] = []
    measured: list[float] = []
    runs: list[str] = []
    made: int = 0
    why_not: str = ""

    @property
    def median(self) -> float | None:
        """Return the median measured."""
        return statistics.median(self.measured) if self.measured else None

    @property
    def model(self) -> float | None:
        """Return the median predicted."""
        return statistics.median(self.predicted) if self.predicted else None

    @property
    def difference(self) -> float | None:
        """Return measured minus what the analysis says."""
        return None if self.median is None else self.median - self.number.value

    @property
    def within(self) -> bool | None:
        """Return whether the difference is within the tolerance; None when not measured."""
        return None if self.difference is None else abs(self.difference) <= self.number.tolerance


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: list[Number]


def read_numbers(path: Path) -> list[Number]:
    """Read the worked numbers.

    Raises:
        UsageError: the file is missing or wrong.
    """
    try:
        return _File.model_validate(read_tables(path, "file of worked numbers")).number
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}") from None


def cell_of(number: Number, catalogue: Catalogue) -> Cell | str:
    """Return what shows a number, or why there is nothing that does."""
    if number.measure not in MEASURES:
        return f"there is no measure {number.measure} yet"
    if number.experiment not in catalogue.experiment_names():
        return f"there is no experiment {number.experiment} yet"
    try:
        (cell,) = cells(
            catalogue, catalogue.experiment(number.experiment), [number.target], [number.variant]
        )
    except UsageError as error:
        return str(error)
    return cell

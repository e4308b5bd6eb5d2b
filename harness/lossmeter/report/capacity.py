"""The highest rate that targets sustain, where ``lossmeter capacity`` has measured it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmeter.errors import UsageError
from lossmeter.record.files import read_bytes, why

FOLDER = "capacity"

# The experiments whose variants are the tiers of rate, each without a fault: of each target
# with the settings that suit it, and of all with the same.
RATES = "rates"
EQUAL_RATES = "equal-rates"


class RecordedTry(BaseModel):
    """One rate that was offered."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    rate_per_s: float
    sustained: bool
    latency_p99_ms: float | None = None


class RecordedCapacity(BaseModel):
    """One target's highest sustained rate, events per second; None when it sustained none."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    target: str
    runtime: str
    like: str | None = None
    settings: dict[str, str | int | float] = {}
    sustained_per_s: float | None = Field(ge=0, allow_inf_nan=False)
    failed_per_s: float | None = None
    limited_by: str = ""
    seed: int | None = None
    machine: dict[str, str | int | float] = {}
    tried: tuple[RecordedTry, ...] = ()

    @property
    def p99_ms(self) -> float | None:
        """Return the p99 of the last run at the highest sustained rate."""
        there = [t for t in self.tried if t.sustained and t.rate_per_s == self.sustained_per_s]
        return there[-1].latency_p99_ms if there else None


def read_capacities(results: Path) -> Mapping[tuple[str, str], RecordedCapacity]:
    """Return what was measured, by target and runtime, from a folder of results.

    Only with the settings of the rates it can stand beside them.

    Raises:
        UsageError: a file there does not hold a capacity.
    """
    every = every_capacity(results / FOLDER)
    return {(each.target, each.runtime): each for each in every if each.like == RATES}


def every_capacity(folder: Path) -> list[RecordedCapacity]:
    """Return all that were measured, from a folder of them.

    Raises:
        UsageError: a file there does not hold a capacity.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(RecordedCapacity.model_validate_json(read_bytes(path)))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: it {why(error)}") from None
        except ValidationError as error:
            raise UsageError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
    return found

"""The highest rate that targets sustain, where ``harness capacity`` has measured it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError

FOLDER = "capacity"

# The experiment whose variants are the tiers of rate, each without a fault.
RATES = "rates"


class Capacity(BaseModel):
    """One target's highest sustained rate, events per second; None when it sustained none."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    target: str
    runtime: str
    like: str | None = None
    sustained_per_s: float | None = Field(ge=0, allow_inf_nan=False)


def read_capacities(results: Path) -> Mapping[tuple[str, str], Capacity]:
    """Return what was measured, by target and runtime, from a folder of results.

    Only with the settings of the rates it can stand beside them.

    Raises:
        UsageError: a file there does not hold a capacity.
    """
    found = {}
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            capacity = Capacity.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UsageError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
        if capacity.like == RATES:
            found[capacity.target, capacity.runtime] = capacity
    return found

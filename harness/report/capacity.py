"""The highest rate that targets sustain, where it was measured: ``capacity.json`` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError

PATTERN = "*capacity*.json"


class Capacity(BaseModel):
    """One target's highest sustained rate, as ``harness capacity`` found it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    target: str
    runtime: str = ""
    rate_per_s: float = Field(ge=0, allow_inf_nan=False)


def read_capacities(folder: Path) -> Mapping[str, Capacity]:
    """Return what was measured of each target, from a folder of results.

    Raises:
        UsageError: a file of that name does not hold a capacity.
    """
    found = {}
    for path in sorted(folder.glob(PATTERN)) + sorted(folder.glob(f"capacity/{PATTERN}")):
        try:
            capacity = Capacity.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UsageError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
        found[capacity.target] = capacity
    return found

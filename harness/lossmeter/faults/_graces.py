"""The time that a target is given to end by itself, as faults take it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from lossmeter.faults._fault import Parameters, within

MAX_GRACE_S = 600.0

Seconds = Annotated[float, within(0, MAX_GRACE_S, "seconds")]


def check_part(pre_stop_s: float, grace_s: float) -> None:
    """Check that a preStop is over within the grace.

    Raises:
        ValueError: it is not.
    """
    if pre_stop_s > grace_s:
        raise ValueError(
            f"pre_stop_s {pre_stop_s:g} is longer than grace_s {grace_s:g}, of which it is a part; "
            "the process would be killed before it is asked to stop"
        )


class Grace(Parameters):
    """Seconds between SIGTERM and SIGKILL."""

    grace_s: Seconds

    def graces(self) -> tuple[float, float]:
        """Return the grace, and no preStop."""
        return self.grace_s, 0.0


class GraceAndPreStop(Grace):
    """Seconds until SIGKILL, and of these the ones before SIGTERM."""

    pre_stop_s: Seconds = 0.0

    @model_validator(mode="after")
    def _part_of_it(self) -> Self:
        check_part(self.pre_stop_s, self.grace_s)
        return self

    def graces(self) -> tuple[float, float]:
        """Return both."""
        return self.grace_s, self.pre_stop_s

"""The time that a target is given to end by itself, as faults take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import FaultError

MAX_GRACE_S = 600.0


@dataclass(frozen=True, slots=True)
class Grace:
    """Seconds until SIGKILL, and of these the ones before SIGTERM."""

    grace_s: float
    pre_stop_s: float


def grace(fault: str, parameters: Mapping[str, str | int | float]) -> Grace:
    """Return the parameters ``grace_s`` and ``pre_stop_s``.

    Raises:
        FaultError: one is unknown or impossible, or they contradict each other.
    """
    for name, value in parameters.items():
        if name not in {"grace_s", "pre_stop_s"}:
            raise FaultError(f"{fault} takes grace_s and pre_stop_s, got {name}")
        if isinstance(value, str) or not 0 <= value <= MAX_GRACE_S:
            raise FaultError(f"{fault}: {name} is {value!r}; right is 0 to {MAX_GRACE_S:g} seconds")
    if "grace_s" not in parameters:
        raise FaultError(f"{fault} needs grace_s, the seconds between SIGTERM and SIGKILL")
    grace_s, pre_stop_s = float(parameters["grace_s"]), float(parameters.get("pre_stop_s", 0))
    if pre_stop_s > grace_s:
        raise FaultError(
            f"{fault}: pre_stop_s {pre_stop_s:g} is longer than grace_s {grace_s:g}, of which it "
            "is a part; the process would be killed before it is asked to stop"
        )
    return Grace(grace_s, pre_stop_s)

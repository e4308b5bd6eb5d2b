"""Alerts that fired during a run: ``alerts.json`` of a run folder, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

ALERTS = "alerts.json"


class Alert(BaseModel):
    """One alert that fired.

    Attributes:
        name, severity: as the alerting rule says.
        fired_ns: wall clock, nanoseconds.
        ended_ns: the same; None while it fired to the end of the run.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    severity: str = ""
    fired_ns: int
    ended_ns: int | None = None


_FILE = TypeAdapter(list[Alert])


def read_alerts(folder: Path) -> Sequence[Alert]:
    """Return the alerts of a run, in the order of firing; none where nothing was watched."""
    try:
        found = _FILE.validate_json((folder / ALERTS).read_bytes())
    except (OSError, ValidationError):
        return ()
    return sorted(found, key=lambda alert: alert.fired_ns)

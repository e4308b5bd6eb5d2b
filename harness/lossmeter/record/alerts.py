"""What a monitor saw of a run: ``monitoring.json`` and ``alerts.json`` of a run folder.

``alerts.json`` holds what fired, as pages mark it; ``monitoring.json`` every rule, also those
that stayed silent. Neither is there where nothing watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lossmeter.record.files import read_bytes, write_bytes, write_text
from lossmeter.record.json_text import json_text

ALERTS = "alerts.json"
MONITORING = "monitoring.json"


class Alert(BaseModel):
    """One alert that fired."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    severity: str = ""
    fired_ns: int
    ended_ns: int | None = None


class Rule(BaseModel):
    """One alerting rule and what became of it in a run.

    Attributes:
        name, severity, expression: as the file says.
        for_s: how long the expression must hold, as the file says.
        held_s: the longest that it held in this run, by the rule as the file says it.
        fired_ns: when that rule fired, with its full wait; None when it did not.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    severity: str = ""
    expression: str
    for_s: float
    held_s: float = 0.0
    fired_ns: int | None = None


class Monitoring(BaseModel):
    """What watched a run, and by which clock.

    Attributes:
        server: e.g. ``Prometheus 2.42.0``.
        factor: by how much the waits, windows and intervals of the rules are divided for
            ``alerts.json``; 1 leaves them as they are.
        scrape_s: seconds between two looks at the target.
        looks, unanswered: looks at the target's instances, and those without an answer.
        from_ns, until_ns: the stretch that was watched; wall clock, nanoseconds.
        rules: in the order of their file.
        problem: why the watch was cut short.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    server: str
    factor: float
    scrape_s: float
    looks: int = 0
    unanswered: int = 0
    from_ns: int
    until_ns: int
    rules: list[Rule] = []
    problem: str | None = None

    def save(self, folder: Path, alerts: Sequence[Alert]) -> None:
        """Write both files."""
        write_text(folder / MONITORING, json_text(self) + "\n")
        write_bytes(folder / ALERTS, _FILE.dump_json(list(alerts), indent=2) + b"\n")


_FILE = TypeAdapter(list[Alert])


def read_alerts(folder: Path) -> Sequence[Alert]:
    """Return the alerts of a run, in the order of firing; none where nothing was watched."""
    try:
        found = _FILE.validate_json(read_bytes(folder / ALERTS))
    except (OSError, ValidationError):
        return ()
    return sorted(found, key=lambda alert: alert.fired_ns)


def read_monitoring(folder: Path) -> Monitoring | None:
    """Return what watched a run; None where nothing did."""
    try:
        return Monitoring.model_validate_json(read_bytes(folder / MONITORING))
    except (OSError, ValidationError):
        return None

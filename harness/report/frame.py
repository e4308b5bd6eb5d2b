"""What the charts of a run share: its time, its faults, its alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.series import Axis


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time in which a fault held; ``end_s`` equals ``begin_s`` for a moment."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """An alert that fired."""

    name: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What every chart of a run shares: the time, the faults, the alerts."""

    axis: Axis
    bands: Sequence[Band] = ()
    moments: Sequence[Moment] = ()

    def told(self) -> str:
        """Return faults and alerts in words."""
        told = [
            f"Fault {band.name} from {band.begin_s:.2f} s to {band.end_s:.2f} s."
            for band in self.bands
        ]
        told += [f"Alert {moment.name} at {moment.at_s:.1f} s." for moment in self.moments]
        return " ".join(told)

    def legend(self) -> tuple[tuple[str, str, str], ...]:
        """Return what the shades and marks stand for: words, colour, stroke."""
        found: list[tuple[str, str, str]] = []
        if self.bands:
            found.append(("fault held", "loss", "band"))
        if self.moments:
            found.append(("alert", "warn", "dashed"))
        return tuple(found)

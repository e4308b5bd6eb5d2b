"""What the charts of a run share: its time, its faults, its alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossmeter.report.series import Axis


@dataclass(frozen=True, slots=True)
class Band:
    """A fault, until service was back or it was healed; ``end_s`` is ``begin_s`` for a moment."""

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

    def reported(self) -> str:
        """Return faults and alerts in words."""
        reported = [
            f"Fault {band.name} from {band.begin_s:.2f} s to {band.end_s:.2f} s."
            for band in self.bands
        ]
        reported += [f"Alert {moment.name} at {moment.at_s:.1f} s." for moment in self.moments]
        return " ".join(reported)

    def legend(self) -> tuple[tuple[str, str, str], ...]:
        """Return what the shades and marks stand for: words, colour, stroke."""
        found: list[tuple[str, str, str]] = []
        if self.bands:
            found.append(("fault, until service was back", "loss", "band"))
        if self.moments:
            found.append(("alert", "warn", "dashed"))
        return tuple(found)

"""Ack durability: how much each fault lost of what had been acked, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lossmeter.model import plural


@dataclass(frozen=True, slots=True)
class Window:
    """What one fault lost of what was acked.

    Attributes:
        lost: events; None where it was not measured.
        volatile_ms: how long before the fault the oldest of them had been acked.
        note: why it was not measured, or what there is to say.
        held: events that were neither lost nor delivered, by class; none of which it has none.
    """

    lost: int | None = None
    volatile_ms: float | None = None
    note: str = ""
    held: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.lost is None:
            return "not measured"
        reported = f"0 ({self.note})" if self.note else "0"
        if self.lost:
            reported = f"{plural(self.lost, 'event')}, {self.volatile_ms or 0:,.0f} ms"
        kept = (f"{number:,} {name.replace('_', '-')}" for name, number in self.held.items())
        return ", ".join([reported, *kept])


@dataclass(slots=True)
class Worth:
    """How durable the acks of one target are.

    Attributes:
        target: its name; ``setting``: what was set differently, empty for as it ships.
    """

    target: str
    setting: str
    ack_level: str
    windows: dict[str, Window] = field(default_factory=dict)
    made: str = ""

    @property
    def named(self) -> str:
        """Return what the setting is called in the table."""
        return self.setting or "as shipped"

    @property
    def sentence(self) -> str:
        """Say it in one sentence."""
        measured = {name: w for name, w in self.windows.items() if w.lost is not None}
        taken = [name for name, window in measured.items() if window.lost]
        kept = [name for name, window in measured.items() if not window.lost and not window.note]
        unmet = [name for name, window in measured.items() if not window.lost and window.note]
        who = f"{self.target}{f' ({self.setting})' if self.setting else ''}"
        parts = [f"does not survive {_listed(taken)}"] if taken else []
        parts += [f"survives {_listed(kept)}"] if kept else []
        parts += [f"never met {_listed(unmet)}"] if unmet else []
        return f"{who}: an ack {', and '.join(parts) or 'was not measured'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

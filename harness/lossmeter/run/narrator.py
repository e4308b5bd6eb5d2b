"""How a run reports what it is doing, without knowing who listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; None where a figure is not known.

    Attributes:
        phase: ``load`` or ``settle``.
        done: share of the phase, from 0 to 1; None when it is not known.
        left_s: seconds until the phase is over; for a wait without an end, its limit.
        rate_asked_per_s, rate_kept_per_s: events asked for and sent per second, just now.
        sent, planned: events sent so far, of all.
        acked, refused: events so far, by the answers to their producers.
        queue_length: as the target reported last; None when it does not.
        answers: the target answered the last look.
        faults: what each fault that is not over does, e.g. ``latency holds for 3 s more``.
    """

    phase: str
    done: float | None = None
    left_s: float | None = None
    rate_asked_per_s: float | None = None
    rate_kept_per_s: float | None = None
    sent: int | None = None
    planned: int | None = None
    acked: int | None = None
    refused: int | None = None
    queue_length: int | None = None
    answers: bool = True
    faults: tuple[str, ...] = ()


class Narrator(Protocol):
    """Listens to a run."""

    def say(self, text: str) -> None:
        """Take one finished step, as a short line."""

    def progress(self, at: Progress) -> None:
        """Take how far the run is."""


class Silent:
    """Listens and says nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def progress(self, at: Progress) -> None:
        """Drop the progress."""

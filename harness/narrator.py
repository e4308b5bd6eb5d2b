"""How a run tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Narrator(Protocol):
    """Listens to a run."""

    def say(self, text: str) -> None:
        """Take one finished step, as a short line."""

    def progress(self, phase: str, done: float, text: str) -> None:
        """Take how far a phase is: ``done`` is from 0 to 1."""


class Silent:
    """Listens and says nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def progress(self, phase: str, done: float, text: str) -> None:
        """Drop the progress."""

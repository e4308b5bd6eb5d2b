"""Tells a person what a run is doing: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

PLAIN_EVERY_S = 5.0
BAR_CELLS = 20


class ConsoleNarrator:
    """Narrates on a console; use it as a context manager around one run.

    Args:
        console: where to; usually standard error, so that results stay clean.
        title: what is run, shown in front of each line.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._begin = time.monotonic()
        self._spoke = self._begin
        self._status: Status | None = None

    def say(self, text: str) -> None:
        """Print one finished step."""
        line = f"[dim]{self._clock()}[/dim] {self._named(text)}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def progress(self, phase: str, done: float, text: str) -> None:
        """Move the live line, or print a plain one from time to time."""
        line = f"{phase} {text}"
        if self._status is not None:
            filled = round(done * BAR_CELLS)
            bar = "━" * filled + "[dim]" + "━" * (BAR_CELLS - filled) + "[/dim]"
            self._status.update(f"{self._named('')}{bar} {escape(line)}")
        elif time.monotonic() - self._spoke >= PLAIN_EVERY_S:
            self._spoke = time.monotonic()
            self.say(f"{line} ({done:.0%})")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status(self._named("starting"))
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def _named(self, text: str) -> str:
        return f"[bold]{escape(self._title)}[/bold]  {escape(text)}"

    def _clock(self) -> str:
        return f"{time.monotonic() - self._begin:6.1f} s"

"""Tells what several runs are doing at once: a live line for each, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lossmeter.report.console import LOOKS_PER_S, ConsoleNarrator, plain_line
from lossmeter.run.narrator import Progress


class Screen:
    """Narrates on a console, from any thread; use it as a context manager around all runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self.lines,
                refresh_per_second=LOOKS_PER_S,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def live(self) -> bool:
        """Return whether its lines are shown as they change."""
        return self._live is not None

    def lines(self) -> Group:
        """Return a line for each run that goes on, cut off where the terminal ends."""
        texts = []
        with self._lock:
            lines = list(self._lines.items())
        for title, line in lines:
            text = Text.assemble((title, "bold"), "  ", line)
            text.no_wrap, text.overflow = True, "ellipsis"
            texts.append(text)
        return Group(*texts)

    def narrator(self, title: str) -> Row:
        """Return the narrator of one run."""
        return Row(self, self._console, title)

    def show(self, title: str, line: str | None) -> None:
        """Show how a run is getting on; with None it is over."""
        with self._lock:
            if line is None:
                self._lines.pop(title, None)
            else:
                self._lines[title] = line


class Row(ConsoleNarrator):
    """Narrates one of several runs; use it as a context manager around that run."""

    def __init__(self, screen: Screen, console: Console, title: str) -> None:
        super().__init__(console, title)
        self._screen = screen

    def progress(self, at: Progress) -> None:
        """Move its line, or print a plain one from time to time."""
        if self._screen.live:
            self._screen.show(self._title, plain_line(at))
        else:
            super().progress(at)

    def __enter__(self) -> Self:
        if self._screen.live:
            self._screen.show(self._title, "waits for its turn")
        return self

    def starts(self) -> None:
        """Count the time from now on: before, it had no turn."""
        self._begin = self._spoke = time.monotonic()
        if self._screen.live:
            self._screen.show(self._title, "starting")

    def __exit__(self, *_: object) -> None:
        self._screen.show(self._title, None)

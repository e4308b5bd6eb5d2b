"""Tells what several runs are doing at once: live lines for each, plain lines elsewhere.

A figure is never cut. Where a run does not fit into a line, what matters least is left out;
where its counts alone do not fit beside its name, they stand below it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from lossmeter.report._layout import GAP, packed, wrapped
from lossmeter.report.console import LOOKS_PER_S, ConsoleNarrator, figures, state_of
from lossmeter.run.narrator import Progress

# The first leaves first; counts never do.
_LEAVING = ("rate", "left", "fault", "faults")


@dataclass(frozen=True, slots=True)
class Going:
    """A run that goes on: what it does, and its figures by name."""

    title: str
    state: str
    figures: Sequence[tuple[str, str]] = ()

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it in one line where that has room, or as its name and what it does below."""
        width = options.max_width
        for parts in self._fewer():
            line = ", ".join(parts)
            if cell_len(self.title + GAP + line) <= width:
                yield Text.assemble((self.title, "bold"), GAP, line)
                return
        for line in wrapped(self.title, width):
            yield Text(line, style="bold", overflow="fold")
        below = (packed(parts, width - len(GAP), ", ") for parts in self._fewer())
        lines = next((lines for lines in below if len(lines) == 1), None)
        for line in lines or packed(self._counts(), width - len(GAP), ", "):
            yield Text(GAP + line, overflow="fold")

    def _fewer(self) -> Iterator[list[str]]:
        """Yield the parts of its line, each time without one more of those that may leave."""
        leaving: list[str] = []
        for name in (None, *_LEAVING):
            if name is not None:
                leaving.append(name)
            yield self._parts(leaving)

    def _counts(self) -> list[str]:
        return self._parts(_LEAVING)

    def _parts(self, without: Sequence[str]) -> list[str]:
        shown = [f"{name} {value}" for name, value in self.figures if name not in without]
        return [f"{self.state}: {shown[0]}", *shown[1:]] if shown else [self.state]


class Screen:
    """Narrates on a console, from any thread; use it as a context manager around all runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._going: dict[str, Going] = {}
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
        """Return what each run that goes on does."""
        with self._lock:
            return Group(*self._going.values())

    def narrator(self, title: str) -> Row:
        """Return the narrator of one run."""
        return Row(self, self._console, title)

    def show(self, going: Going) -> None:
        """Show how a run is getting on."""
        with self._lock:
            self._going[going.title] = going

    def over(self, title: str) -> None:
        """Show no more of a run."""
        with self._lock:
            self._going.pop(title, None)


class Row(ConsoleNarrator):
    """Narrates one of several runs; use it as a context manager around that run."""

    def __init__(self, screen: Screen, console: Console, title: str) -> None:
        super().__init__(console, title)
        self._screen = screen

    def progress(self, at: Progress) -> None:
        """Move its line, or print a plain one from time to time."""
        if self._screen.live:
            self._screen.show(Going(self._title, state_of(at), figures(at)))
        else:
            super().progress(at)

    def __enter__(self) -> Self:
        if self._screen.live:
            self._screen.show(Going(self._title, "waits for its turn"))
        return self

    def starts(self) -> None:
        """Count the time from now on: before, it had no turn."""
        self._begin = self._spoke = time.monotonic()
        if self._screen.live:
            self._screen.show(Going(self._title, "starting"))

    def __exit__(self, *_: object) -> None:
        self._screen.over(self._title)

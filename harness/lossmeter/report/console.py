"""Tells a person what a run is doing: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lossmeter.report import words
from lossmeter.report._layout import GAP, packed, wrapped
from lossmeter.run.narrator import Progress

PLAIN_EVERY_S = 5.0
BAR_CELLS = 20
LOOKS_PER_S = 8


class ConsoleNarrator:
    """Narrates on a console; use it as a context manager around one run."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._begin = time.monotonic()
        self._spoke = self._begin
        self._phase = ""
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Print one finished step."""
        line = f"[dim]{self._clock()}[/dim] {self._named(text)}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def progress(self, at: Progress) -> None:
        """Move the live lines, or print a plain one from time to time."""
        if self._live is not None:
            self._live.update(LiveLines(self._title, at))
        elif at.phase != self._phase or time.monotonic() - self._spoke >= PLAIN_EVERY_S:
            self._spoke = time.monotonic()
            self._phase = at.phase
            self.say(plain_line(at))

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            starting = Spinner("dots", Text.from_markup(self._named("starting")))
            self._live = Live(
                starting, console=self._console, refresh_per_second=LOOKS_PER_S, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _named(self, text: str) -> str:
        return f"[bold]{escape(self._title)}[/bold]  {escape(text)}"

    def _clock(self) -> str:
        return f"{time.monotonic() - self._begin:6.1f} s"


def state_of(at: Progress) -> str:
    """Return the phase, with the share of it that is done where that is known."""
    return at.phase if at.done is None else f"{at.phase} ({at.done:.0%})"


def plain_line(at: Progress) -> str:
    """Return the progress as one line of a log."""
    return f"{state_of(at)}: " + ", ".join(f"{name} {value}" for name, value in figures(at))


@dataclass(frozen=True, slots=True)
class LiveLines:
    """The progress of one run: a bar, and the figures below it.

    A title that has no room beside the bar stands above it.
    """

    title: str
    at: Progress

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it; no name and no figure is cut."""
        at, width = self.at, options.max_width
        share = "" if at.done is None else f"{at.done:.0%}"
        bar = ProgressBar(100, 100 * at.done, width=BAR_CELLS) if at.done is not None else ""
        row: list[RenderableType] = [Text(at.phase), bar, Text(share)]
        if cell_len(f"{self.title} {at.phase} {share} ") + BAR_CELLS <= width:
            row.insert(0, Text(self.title, style="bold"))
        else:
            yield from (Text(line, "bold", overflow="fold") for line in wrapped(self.title, width))
        grid = Table.grid(padding=(0, 1))
        grid.add_row(*row)
        yield grid
        shown = [f"{name} {value}" for name, value in figures(at)]
        for line in packed(shown, width - len(GAP), "   "):
            yield Text(GAP + line, overflow="fold")


def figures(at: Progress) -> list[tuple[str, str]]:
    """Return the figures of a progress that are known, by name."""
    found: list[tuple[str, str]] = []
    if at.rate_kept_per_s is not None:
        asked = f" of {words.rate(at.rate_asked_per_s)}" if at.rate_asked_per_s else ""
        found.append(("rate", f"{words.rate(at.rate_kept_per_s)}{asked}"))
    if at.sent is not None:
        planned = f" of {words.count(at.planned)}" if at.planned else ""
        found.append(("sent", words.count(at.sent) + planned))
    found += [
        (name, words.count(number))
        for name, number in (("acked", at.acked), ("refused", at.refused))
        if number is not None
    ]
    queue = "no answer" if not at.answers else words.count(at.queue_length)
    if at.queue_length is not None or not at.answers:
        found.append(("queue", queue))
    if at.faults:
        found.append(("fault" if len(at.faults) == 1 else "faults", "; ".join(at.faults)))
    if at.left_s is not None:
        found.append(("left", f"{'' if at.done is not None else 'at most '}{at.left_s:.0f} s"))
    return found

"""A measured part: rows with ratios, goals that hold or do not, as Markdown, JSON and SVG."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lossmeter.report._layout import markdown_table
from lossmeter.run.environment import commit, machine, packages
from lossmeter.studies.pages import Basis, basis_of, note

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
RESULTS = ROOT / "results" / "bench"
PEERS = ("pandas", "duckdb", "celery", "dramatiq", "rq")


@dataclass(frozen=True, slots=True)
class Row:
    """One contender: the median of its rounds, and how many times better ours is."""

    contender: str
    does: str
    median: float
    unit: str
    ours_times_better: float | None = None
    also: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """What was to be reached, what was measured, and whether that is enough.

    ``short_by`` is how many times the measured value lies beyond the bound; None when the
    goal is met, or the bound is not a number.
    """

    text: str
    measured: float | None
    met: bool
    short_by: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One part of the bench."""

    name: str
    title: str
    how: str
    rounds: int
    rows: Sequence[Row]
    goals: Sequence[Goal]

    def save(self) -> None:
        """Write the table, the same for programs, and the picture."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        content = {"schema": 1, "machine": machine(), "packages": _versions()} | asdict(self)
        text = json.dumps(content, indent=2)
        (RESULTS / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        (RESULTS / f"{self.name}.md").write_text(self._markdown(), encoding="utf-8")
        note(RESULTS, [f"{self.name}.md"], basis_of_parts())
        self._draw()

    def show(self) -> None:
        """Print it."""
        table = Table(*_HEAD, title=self.title, title_justify="left")
        for row in self.rows:
            table.add_row(*_cells(row))
        console = Console()
        console.print(table)
        for goal in self.goals:
            word = "met   " if goal.met else "      " if goal.measured is None else "MISSED"
            console.print(f"{word} {_goal(goal)}", highlight=False)

    def _markdown(self) -> str:
        lines = [
            f"# {self.title}",
            "",
            f"{self.how} Medians of {self.rounds} alternating rounds; `make bench-{self.name}`.",
            "",
            f"![{self.title}]({self.name}.svg)",
            "",
            markdown_table(_HEAD, [_cells(row) for row in self.rows], _RIGHT),
            "",
            *(f"- {_word(goal)}{_goal(goal)}" for goal in self.goals),
            "",
            f"Machine: {_listed(machine())}",
            "",
            f"Versions: {_listed(_versions())}",
        ]
        return "\n".join(lines) + "\n"

    def _draw(self) -> None:
        import matplotlib as mpl  # noqa: PLC0415 - only for the picture

        mpl.use("svg")
        mpl.rcParams["svg.hashsalt"] = self.name
        from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

        units = list(dict.fromkeys(row.unit for row in self.rows))
        figure, axes = plt.subplots(len(units), figsize=(7, 0.6 + 0.45 * len(self.rows)))
        for axis, unit in zip([axes] if len(units) == 1 else axes, units, strict=True):
            rows = [row for row in self.rows if row.unit == unit][::-1]
            bars = axis.barh([row.contender for row in rows], [row.median for row in rows])
            axis.bar_label(bars, fmt=figure_of, padding=3)
            axis.set_xlabel(unit)
            axis.margins(x=0.15)
        figure.suptitle(self.title)
        figure.tight_layout()
        figure.savefig(RESULTS / f"{self.name}.svg", metadata={"Date": None})
        plt.close(figure)


def basis_of_parts() -> Basis:
    """Return what the tables rest on: the bench, and what it measures."""
    record, dispatcher = ROOT / "harness" / "lossmeter" / "record", ROOT / "targets" / "dispatcher"
    return basis_of(ROOT, [BENCH, record, dispatcher])


_RIGHT = (False, False, True, False, True, False)
_HEAD = ("contender", "does", "median", "unit", "ours is times better", "also")


def figure_of(value: float) -> str:
    """Return a measured number: whole from a thousand on, else four digits of it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ours_times_better is None else f"{row.ours_times_better:.1f}"
    return (row.contender, row.does, figure_of(row.median), row.unit, ratio, row.also)


def _goal(goal: Goal) -> str:
    measured = "not measured" if goal.measured is None else figure_of(goal.measured)
    short = "" if goal.short_by is None else f", {goal.short_by:.3g} times short of it"
    return f"{goal.text}: {measured}{short}"


def _word(goal: Goal) -> str:
    if goal.measured is None:
        return ""
    return "met: " if goal.met else "**missed**: "


def _listed(values: dict[str, str] | dict[str, str | int | float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _versions() -> dict[str, str]:
    found = dict(packages()) | {"commit": commit() or "unknown"}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def median(values: Sequence[float]) -> float:
    """Return the median; of nothing, not a number."""
    return statistics.median(values) if values else float("nan")


def at_least(text: str, measured: float | None, bound: float) -> Goal:
    """Return a goal that holds from a bound on."""
    measured = _known(measured)
    met = measured is not None and measured >= bound
    short = bound / measured if measured and not met else None
    return Goal(f"{text} ≥ {bound:g}", measured, met, _rounded(short))


def at_most(text: str, measured: float | None, bound: float) -> Goal:
    """Return a goal that holds up to a bound."""
    measured = _known(measured)
    met = measured is not None and measured <= bound
    short = measured / bound if measured and not met else None
    return Goal(f"{text} ≤ {bound:g}", measured, met, _rounded(short))


def _known(measured: float | None) -> float | None:
    """Return None for what was not measured: the median of nothing is not a number."""
    return None if measured is None or math.isnan(measured) else measured


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

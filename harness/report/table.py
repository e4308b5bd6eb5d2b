"""The result table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.model import Verdict
from harness.outcome import Lack, Outcome
from harness.result import Result

COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "bold magenta",
    Lack.SKIPPED: "cyan",
    Lack.MISSING: "bold yellow",
    Lack.DAMAGED: "bold magenta",
}
# Left out where the terminal is narrow; the numbers are in result.json all the same.
_WIDE_ONLY = {"sent", "refused", "unknown", "unresolved", "evidence"}
WIDE = 110


def result_table(outcomes: Sequence[Outcome], width: int) -> RenderableType:
    """Return the table of results with the reasons of all that did not pass below it.

    Args:
        outcomes: in the order in which they are shown; what has no result has a row too.
        width: columns of the terminal.
    """
    table = Table(
        title="Events lost, by experiment and target",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    shown = [c for c in _COLUMNS if width >= WIDE or c.name not in _WIDE_ONLY]
    for column in shown:
        table.add_column(column.name, justify=column.justify, no_wrap=True)
    previous = ""
    for outcome in outcomes:
        if previous and outcome.experiment != previous:
            table.add_section()
        table.add_row(*(_cell(column, outcome) for column in shown))
        previous = outcome.experiment
    return Group(table, *_notes(outcomes))


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its head, and how a result's cell is written."""

    name: str
    cell: Callable[[Result], str]
    justify: Literal["left", "right"] = "right"


def _cell(column: _Column, outcome: Outcome) -> str:
    if isinstance(outcome, Result):
        return column.cell(outcome)
    told = {
        "experiment": escape(outcome.experiment),
        "target": escape(outcome.target),
        "verdict": _verdict(outcome),
    }
    return told.get(column.name, "–")


def _verdict(outcome: Outcome) -> str:
    return f"[{COLOURS[outcome.verdict]}]{outcome.verdict}[/]"


def _recovery(result: Result) -> str:
    return "–" if result.recovery_s is None else f"{result.recovery_s:.1f} s"


def _predicted(result: Result) -> str:
    predicted = result.predicted
    if predicted is None or predicted.lost is None:
        return "–"
    tolerance = f" ± {predicted.lost_tolerance}" if predicted.lost_tolerance else ""
    mark = {True: "", False: " ✗", None: ""}[result.prediction_holds]
    return f"{predicted.lost}{tolerance}{mark}"


def _evidence(result: Result) -> str:
    if not result.evidence:
        return "–"
    holding = sum(evidence.holds for evidence in result.evidence)
    return f"{holding} of {len(result.evidence)}"


_COLUMNS = (
    _Column("experiment", lambda r: escape(r.experiment), "left"),
    _Column("target", lambda r: escape(r.target), "left"),
    _Column("sent", lambda r: str(r.counts.sent)),
    _Column("acked", lambda r: str(r.counts.acked)),
    _Column("refused", lambda r: str(r.counts.refused)),
    _Column("unknown", lambda r: str(r.counts.unknown)),
    _Column("lost", lambda r: f"[bold]{r.counts.lost}[/bold]"),
    _Column("predicted", _predicted),
    _Column("twice", lambda r: str(r.counts.duplicated)),
    _Column("unresolved", lambda r: str(r.counts.unresolved)),
    _Column("recovery", _recovery),
    _Column("evidence", _evidence),
    _Column("verdict", _verdict, "left"),
)


def _notes(outcomes: Sequence[Outcome]) -> list[RenderableType]:
    notes: list[RenderableType] = []
    for outcome in outcomes:
        where = f"{outcome.experiment} on {outcome.target}"
        if outcome.verdict is not Verdict.PASS:
            reason = escape(outcome.reason)
            notes.append(Text.from_markup(f"[bold]{escape(where)}[/bold]: {reason}"))
        if isinstance(outcome, Result):
            notes += _missed(outcome, where)
    return notes


def _missed(result: Result, where: str) -> list[Text]:
    predicted = result.predicted
    if result.prediction_holds is not False or predicted is None:
        return []
    return [
        Text(
            f"{where}: prediction missed: {result.counts.lost} lost, "
            f"{predicted.lost} ± {predicted.lost_tolerance} predicted ({predicted.basis})"
        )
    ]


def detail(result: Result) -> RenderableType:
    """Return everything about one run: classes, evidence, prediction, timings."""
    counts = Table(title="Ledger", title_justify="left")
    counts.add_column("class")
    counts.add_column("events", justify="right")
    for name, number in result.counts.as_dict().items():
        shown = "not measured" if name in result.not_measured else str(number)
        counts.add_row(name, shown)
    evidence = Table(title="Evidence", title_justify="left")
    for column in ("source", "claim", "value", "holds"):
        evidence.add_column(column)
    for seen in result.evidence:
        evidence.add_row(seen.source, seen.claim, seen.value, "yes" if seen.holds else "NO")
    lines = [f"Hypothesis: {result.hypothesis}", f"Reason: {result.reason}"]
    if result.predicted is not None:
        lines.append(f"Predicted from: {result.predicted.basis}")
    lines += [f"Self-proof: {line}" for line in result.self_proof]
    timings = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.timings_s.items())
    lines.append(f"Timings: {timings}")
    return Group(counts, evidence, *(Text(line) for line in lines))

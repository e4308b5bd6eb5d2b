"""The result table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.model import Predicted, Verdict
from harness.outcome import Lack, Outcome
from harness.report._markup import one_line, terminal_text
from harness.report.words import proof_cost
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
        "experiment": terminal_text(outcome.experiment),
        "target": terminal_text(outcome.target),
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


def _count(name: str) -> Callable[[Result], str]:
    """Return how a class of the ledger is shown: a dash where 0 would only mean unknown."""
    return lambda r: "–" if name in r.not_measured else str(getattr(r.counts, name))


def _lost(result: Result) -> str:
    return f"[bold]{_count('lost')(result)}[/bold]"


_COLUMNS = (
    _Column("experiment", lambda r: terminal_text(r.experiment), "left"),
    _Column("target", lambda r: terminal_text(r.target), "left"),
    _Column("sent", _count("sent")),
    _Column("acked", _count("acked")),
    _Column("refused", _count("refused")),
    _Column("unknown", _count("unknown")),
    _Column("lost", _lost),
    _Column("predicted", _predicted),
    _Column("twice", _count("duplicated")),
    _Column("unresolved", _count("unresolved")),
    _Column("recovery", _recovery),
    _Column("evidence", _evidence),
    _Column("verdict", _verdict, "left"),
)


def _notes(outcomes: Sequence[Outcome]) -> list[RenderableType]:
    notes: list[RenderableType] = []
    for outcome in outcomes:
        where = f"{outcome.experiment} on {outcome.target}"
        if outcome.verdict is not Verdict.PASS:
            reason = terminal_text(outcome.reason)
            notes.append(Text.from_markup(f"[bold]{terminal_text(where)}[/bold]: {reason}"))
        if (
            isinstance(outcome, Result)
            and outcome.prediction_holds is False
            and outcome.predicted is not None
        ):
            missed = "; ".join(_missed(outcome, outcome.predicted))
            basis = outcome.predicted.basis
            told = terminal_text(f"{where}: prediction missed: {missed} ({basis})")
            notes.append(Text.from_markup(told))
    return notes


def lost_line(result: Result) -> str | None:
    """Return one line saying what the lost events died of; None when none was lost."""
    if not result.counts.lost:
        return None
    where = result.lost_where
    told = result.stages or {
        **result.lost_when,
        "at the beginning": where.prefix,
        "in between": where.middle,
        "at the end of their producer": where.suffix,
    }
    return "lost: " + ", ".join(f"{number} {words}" for words, number in told.items() if number)


def _missed(result: Result, predicted: Predicted) -> list[str]:
    """Return each figure that the prediction missed, measured beside predicted."""
    missed = []
    if result.difference is not None and abs(result.difference) > predicted.lost_tolerance:
        missed.append(
            f"{result.counts.lost} lost, {predicted.lost} ± {predicted.lost_tolerance} predicted"
        )
    most = predicted.duplicated_max
    if most is not None and result.counts.duplicated > most:
        missed.append(f"{result.counts.duplicated} duplicated, at most {most} predicted")
    return missed + [
        f"{each.name} {each.measured:g}, {each.predicted:g} ± {each.tolerance:g} predicted"
        for each in result.comparisons
        if each.holds is False
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
        told = (terminal_text(text) for text in (seen.source, seen.claim, seen.value))
        evidence.add_row(*told, "yes" if seen.holds else "NO")
    died = lost_line(result)
    lines = [f"Hypothesis: {result.hypothesis}", f"Reason: {result.reason}"]
    if result.predicted is not None:
        lines.append(f"Predicted from: {result.predicted.basis}")
    if died is not None:
        lines.append(died.capitalize())
    lines += [f"Self-proof: {line}" for line in result.self_proof]
    if (share := result.self_proof_share) is not None:
        lines.append(f"Self-proof took {proof_cost(result.timings_s['self_proof'], share)}")
    timings = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.timings_s.items())
    lines.append(f"Timings: {timings}")
    return Group(counts, evidence, *(Text(one_line(line)) for line in lines))

"""Judged runs as GitHub Actions shows them: annotations, and a summary of the step.

Source: GitHub's "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Sequence

from lossmeter.model import Verdict
from lossmeter.record.outcome import Lack, Outcome, reported
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report._markup import markdown_cell, workflow_data, workflow_property

_MARKS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.ERROR: "💥",
    Lack.MISSING: "❔",
    Lack.DAMAGED: "💥",
    Lack.SKIPPED: "⏭️",
}
_COUNTED = ("acked", "lost", "unresolved")
_ASKED_FOR = ("stranded", "late")


def workflow_commands(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one workflow command for each outcome that is no pass."""
    return [_annotation(each) for each in outcomes if each.verdict != Verdict.PASS]


def _annotation(outcome: Outcome) -> str:
    level = "notice" if outcome.verdict == Lack.SKIPPED else "error"
    title = f"{outcome.experiment} on {outcome.target} ({outcome.runtime}): {outcome.verdict}"
    return f"::{level} title={workflow_property(title)}::{workflow_data(outcome.reason)}"


def step_summary(outcomes: Sequence[Outcome]) -> str:
    """Return the summary in Markdown: a table, and the reason of all that did not pass."""
    results = [each for each in outcomes if isinstance(each, Result)]
    asked = [n for n in _ASKED_FOR if any(n not in each.not_measured for each in results)]
    counted = [*_COUNTED, *asked]
    head = ("experiment", "target", "runtime", *counted, "recovery", "verdict")
    lines = [
        f"### Events lost: {reported(outcomes)}",
        "",
        f"| {' | '.join(head)} |",
        f"|---|---|---|{'---:|' * (len(counted) + 1)}---|",
        *(_row(outcome, counted) for outcome in outcomes),
        "",
        *(_reason(outcome) for outcome in outcomes if outcome.verdict != Verdict.PASS),
    ]
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome, counted: Sequence[str]) -> str:
    cells = [outcome.experiment, outcome.target, outcome.runtime, *_figures(outcome, counted)]
    shown = [markdown_cell(cell) for cell in cells]
    verdict = f"{_MARKS[outcome.verdict]} {outcome.verdict}"
    return "| " + " | ".join([*shown, verdict]) + " |"


def _figures(outcome: Outcome, counted: Sequence[str]) -> list[str]:
    if not isinstance(outcome, Result):
        return ["–"] * (len(counted) + 1)
    counts, void = outcome.counts, outcome.not_measured
    recovery = "–" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    shown = ["–" if name in void else words.count(getattr(counts, name)) for name in counted]
    return [*shown, recovery]


def _reason(outcome: Outcome) -> str:
    where = markdown_cell(f"{outcome.experiment} on {outcome.target}")
    return f"- **{where}**: {markdown_cell(outcome.reason)}"

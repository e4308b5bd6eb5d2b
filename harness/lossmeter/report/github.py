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
from lossmeter.report.seldom import seldom_shown

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
    counted = [*_COUNTED, *seldom_shown(lambda name: (each.count(name) for each in results))]
    named = [words.measure_name(name) for name in counted]
    head = ("experiment", "target", "runtime", *named, "recovery", "verdict")
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
    recovery = "–" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    return [*(words.count(outcome.count(name)) for name in counted), recovery]


def _reason(outcome: Outcome) -> str:
    where = markdown_cell(f"{outcome.experiment} on {outcome.target}")
    return f"- **{where}**: {markdown_cell(outcome.reason)}"

"""Judged runs as GitHub Actions shows them: annotations, and a summary of the step.

Source: GitHub's "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.model import Verdict
from harness.outcome import Lack, Outcome, told
from harness.report._markup import markdown_cell, workflow_data, workflow_property
from harness.result import Result

_MARKS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.ERROR: "💥",
    Lack.MISSING: "❔",
    Lack.DAMAGED: "💥",
    Lack.SKIPPED: "⏭️",
}
_HEAD = ("experiment", "target", "runtime", "acked", "lost", "unresolved", "recovery", "verdict")


def workflow_commands(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one workflow command for each outcome that is no pass."""
    return [_annotation(each) for each in outcomes if each.verdict != Verdict.PASS]


def _annotation(outcome: Outcome) -> str:
    level = "notice" if outcome.verdict == Lack.SKIPPED else "error"
    title = f"{outcome.experiment} on {outcome.target} ({outcome.runtime}): {outcome.verdict}"
    return f"::{level} title={workflow_property(title)}::{workflow_data(outcome.reason)}"


def step_summary(outcomes: Sequence[Outcome]) -> str:
    """Return the summary in Markdown: a table, and the reason of all that did not pass."""
    lines = [
        f"### Events lost: {told(outcomes)}",
        "",
        "| " + " | ".join(_HEAD) + " |",
        "|---|---|---|---:|---:|---:|---:|---|",
        *(_row(outcome) for outcome in outcomes),
        "",
        *(_reason(outcome) for outcome in outcomes if outcome.verdict != Verdict.PASS),
    ]
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome) -> str:
    cells = [outcome.experiment, outcome.target, outcome.runtime, *_figures(outcome)]
    shown = [markdown_cell(cell) for cell in cells]
    verdict = f"{_MARKS[outcome.verdict]} {outcome.verdict}"
    return "| " + " | ".join([*shown, verdict]) + " |"


def _figures(outcome: Outcome) -> list[str]:
    if not isinstance(outcome, Result):
        return ["–"] * 4
    counts, void = outcome.counts, outcome.not_measured
    recovery = "–" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    shown = [
        "–" if name in void else str(getattr(counts, name))
        for name in ("acked", "lost", "unresolved")
    ]
    return [*shown, recovery]


def _reason(outcome: Outcome) -> str:
    where = markdown_cell(f"{outcome.experiment} on {outcome.target}")
    return f"- **{where}**: {markdown_cell(outcome.reason)}"

"""The gate: what a pipeline is told of outcomes, in the forms that pipelines read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._shared import ERR, OUT
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.outcome import Outcome

JunitFile = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="The gate's JUnit XML. Default: results/junit.xml."
    ),
]
# What GitHub shows of a step's summary at most.
SUMMARY_BYTES = 2**20


def fresh(junit: Path) -> Path:
    """Return a file for JUnit XML that is not there yet: an old one must not pass for new.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"--junit {junit} cannot be written: {error.strerror}") from None
    return junit


def publish(outcomes: Sequence[Outcome], junit: Path, *, json_on_stdout: bool) -> None:
    """Write JUnit XML, and in GitHub Actions annotations and the step's summary."""
    from harness.report.github import step_summary, workflow_commands
    from harness.report.junit import junit_xml

    junit.write_text(junit_xml(outcomes), encoding="utf-8")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # GitHub reads both streams; standard output must stay clean JSON.
        file = (ERR if json_on_stdout else OUT).file
        file.writelines(f"{line}\n" for line in workflow_commands(outcomes))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(Path(summary), step_summary(outcomes))


def conclude(outcomes: Sequence[Outcome], code: ExitCode) -> None:
    """Tell the gate's decision in one line."""
    from harness.outcome import told

    word = "passed" if code is ExitCode.WITHIN_BUDGET else "failed"
    ERR.print(f"gate {word}: {told(outcomes)} (exit code {int(code)})", highlight=False)


def _append(file: Path, text: str) -> None:
    """Append to the summary; that it cannot be written does not change the verdict."""
    encoded = text.encode()
    if len(encoded) > SUMMARY_BYTES:
        encoded = encoded[: SUMMARY_BYTES // 2] + b"\n\n(cut here; the JUnit file has all)\n"
    try:
        with file.open("ab") as summary:
            summary.write(encoded)
    except OSError as error:
        ERR.print(f"the step summary {file} cannot be written: {error.strerror}", highlight=False)

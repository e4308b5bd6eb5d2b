"""The gate: what a pipeline hears of outcomes, in the forms that pipelines read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossmeter.commands._shared import ERR, OUT, check_writable, save_output
from lossmeter.errors import ExitCode, UsageError
from lossmeter.record.files import append_output, why, write_output

if TYPE_CHECKING:
    from lossmeter.record.outcome import Outcome

JunitFile = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="The gate's JUnit XML. Default: results/junit.xml."
    ),
]
ANY = "any"
# What GitHub shows of a step's summary at most.
SUMMARY_BYTES = 2**20


def fresh(junit: Path, json_file: Path | None) -> Path:
    """Return a file for JUnit XML in which nothing old can pass for new.

    Until the gate has decided, a file says that it has not; a device, a FIFO or a link is
    left as it is.

    Raises:
        UsageError: it cannot be written there, or ``--json`` names the same file.
    """
    from lossmeter.record.outcome import Lack, Unjudged
    from lossmeter.report.junit import junit_xml

    if json_file is not None and os.path.realpath(junit) == os.path.realpath(json_file):
        raise UsageError(f"--junit and --json both name {junit}; give each a file of its own")
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
        check_writable("--junit", junit)
        if junit.is_file() and not junit.is_symlink():
            why = "the gate did not come to its end: see its exit code and standard error"
            unfinished = Unjudged("gate", ANY, ANY, Lack.MISSING, why)
            write_output(junit, junit_xml([unfinished]))
    except OSError as error:
        raise UsageError(f"--junit {junit} cannot be written: {error.strerror}") from None
    return junit


def publish(outcomes: Sequence[Outcome], junit: Path, *, json_on_stdout: bool) -> None:
    """Write JUnit XML, and in GitHub Actions annotations and the step's summary.

    Raises:
        HarnessError: the JUnit file cannot be written.
    """
    from lossmeter.report.github import step_summary, workflow_commands
    from lossmeter.report.junit import junit_xml

    save_output("--junit", junit, junit_xml(outcomes))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # GitHub reads both streams; standard output must stay clean JSON.
        file = (ERR if json_on_stdout else OUT).file
        file.writelines(f"{line}\n" for line in workflow_commands(outcomes))
        file.flush()
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(Path(summary), step_summary(outcomes))


def conclude(outcomes: Sequence[Outcome], code: ExitCode) -> None:
    """Tell the gate's decision in one line."""
    from lossmeter.record.outcome import reported

    word = "passed" if code is ExitCode.WITHIN_BUDGET else "failed"
    ERR.print(f"gate {word}: {reported(outcomes)} (exit code {int(code)})", highlight=False)


def _append(file: Path, text: str) -> None:
    """Append to the summary; that it cannot be written does not change the verdict."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > SUMMARY_BYTES:
        kept = encoded[: SUMMARY_BYTES // 2].decode("utf-8", "ignore")
        text = f"{kept}\n\n(cut here; the JUnit file has all)\n"
    try:
        append_output(file, text)
    except OSError as error:
        ERR.print(
            f"the step summary {file} cannot be written: {why(error)}",
            highlight=False,
            markup=False,
        )

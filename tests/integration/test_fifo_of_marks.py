"""A FIFO that a target makes where its marks would lie: an error in a sentence, never a wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.attached import attached, run_attached, to_file
from tests.support.program import Done, Running, left_behind, lossmeter, until

STORE = """
[persisted]
kind = "jsonl"
file = "{file}"
payload = "payload"
"""
WITHIN_S = 60


def ended(
    project: Path, background: Callable[..., Running], end: signal.Signals | None
) -> tuple[Done, Path]:
    """Make a run in whose folder for the target there is a FIFO of that name."""
    file, runs = project / "kept.jsonl", project / "results" / "runs"
    with attached(to_file(file)) as dispatcher:
        ask = run_attached(project, dispatcher.port, STORE.format(file=file), seconds=3.0)
        running = background(*ask)
        until(lambda: dispatcher.kept > 20)
        (folder,) = runs.iterdir()
        os.mkfifo(folder / "target" / "stages-x.bin")
        if end is not None:
            running.send(end)
        return running.end(WITHIN_S), folder


@pytest.mark.parametrize(
    ("end", "code"),
    [(None, 3), (signal.SIGINT, 2), (signal.SIGTERM, 2)],
    ids=["collected", "ctrl-c", "terminated"],
)
def test_nothing_waits_for_a_fifo_where_marks_would_lie(
    project: Path, background: Callable[..., Running], end: signal.Signals | None, code: int
) -> None:
    done, folder = ended(project, background, end)
    assert done.code == code, done.err
    assert left_behind(done.pid) == []
    said = " ".join(done.err.split())
    assert "Traceback" not in said
    if end is None:
        assert "stages-x.bin is a FIFO, not a regular file" in said
    for command in ("report", "gate", "explain"):
        again = lossmeter(command, str(folder), timeout_s=WITHIN_S)
        assert again.code in {0, 2, 3, 4}, again.err
        assert "Traceback" not in again.err

"""A terminal that is closed while a run is made in it: an interrupt like another."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.errors import ExitCode
from tests.support.odd_project import experiment, run_short
from tests.support.program import COMMAND, left_behind, loading, until

pytestmark = pytest.mark.skipif(shutil.which("setsid") is None, reason="there is no setsid")


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of one: what shows it, and what is run in it."""
    shown, inside = pty.openpty()
    yield shown, inside
    for fd in (shown, inside):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_closed_terminal_ends_the_run_in_it_and_leaves_nothing(
    project: Path, terminal: tuple[int, int]
) -> None:
    shown, inside = terminal
    ask = run_short(project)
    (project / "short.py").write_text(experiment(lasts_s=30.0))
    # It leads a session whose terminal this is, as what a shell was replaced by does.
    running = subprocess.Popen(
        ["setsid", "--ctty", *COMMAND, *ask], stdin=inside, stdout=inside, stderr=inside
    )
    os.close(inside)
    try:
        until(lambda: loading(project / "results" / "runs"))
        assert left_behind(running.pid)
        os.close(shown)
        assert running.wait(60) == ExitCode.INTERRUPTED
    finally:
        running.kill()
        running.wait()
    assert left_behind(running.pid) == []
    (folder,) = (project / "results" / "runs").iterdir()
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["interrupted"]
    assert facts["collected"], "what was persisted by then is kept"
    assert not (folder / "traceback.txt").exists()

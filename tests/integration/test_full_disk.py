"""A disk that fills while a run is made: an error that says so, and the sweep goes on."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lossmeter.judge.verdict import judge_run
from lossmeter.record.facts import Facts
from lossmeter.record.journals import read_journals
from lossmeter.world.runtimes._disks import unavailable
from tests.support.odd_project import experiment
from tests.support.program import Running, left_behind, until

RATE_PER_S, HOLD_S, EVENTS = 200, 6, 1200
PIECE = 64 * 1024


@pytest.fixture
def disk(project: Path) -> Iterator[Path]:
    """The folder of runs, on a disk of its own."""
    runs = project / "results" / "runs"
    runs.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "none"]
    subprocess.run([*mount, runs], check=True)
    try:
        yield runs
    finally:
        # Lazily, since after a failure a run may still be ending there.
        subprocess.run(["umount", "--lazy", runs], check=True)


def fill(disk: Path) -> Path:
    """Take all room that is left on a disk, while a run is written to it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            # What statvfs counts as free need not be so any more when it is asked for at once.
            while True:
                file.write(bytes(PIECE))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error  # noqa: PT017 - of many writes the last
    return ballast


def sends(folder: Path, events: int) -> bool:
    return any(len(read_journals(run).intents) > events for run in folder.glob("*Z-*"))


@pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
def test_a_disk_that_fills_under_the_load_costs_that_run_alone(
    project: Path, disk: Path, background: Callable[..., Running]
) -> None:
    text = experiment(rate=RATE_PER_S, lasts_s=HOLD_S)
    (project / "short.py").write_text(text)
    targets = ("--target", "channel", "--target", "channel-retry")
    running = background("run", "short.py", *targets, "--runtime", "local")
    until(lambda: sends(disk, 100))
    ballast = fill(disk)
    until(lambda: len([*disk.glob("*/result.json")]) == 1)
    ballast.unlink()
    done = running.end(180)
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    assert left_behind(done.pid) == []

    first, other = sorted(disk.glob("*Z-*"))
    result = judge_run(first)
    assert result.verdict == "error"
    assert f"the disk of {first} is full" in result.reason
    assert result.reason in " ".join(done.err.split())
    # What was saved by then is there, and can be read.
    assert 100 < len(read_journals(first).intents) < EVENTS
    assert Facts.load(first).problem == result.reason
    assert judge_run(other).verdict == "pass"

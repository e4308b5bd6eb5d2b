"""How long the page of a large run takes, and how large it gets."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.report import Report, Row, at_most, median
from tests.support.run_folders import Written

NAME = "page"
SIZES = (10_000, 100_000, 1_000_000)
LOST_SHARE, RATE_PER_S = 0.2, 2000.0
# What was asked for: a run folder of a million events, a page under 3 MiB in under 10 s.
MOST_S, MOST_MIB = 10.0, 3.0
# What the command does: from the start of Python to a page on disk.
DRAW = """
import sys, pathlib
from lossmeter.judge.verdict import judge_run
from lossmeter.report.page import save_run_page
folder = pathlib.Path(sys.argv[1])
save_run_page(folder, judge_run(folder))
"""


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Draw the pages of run folders whose journals a load's own writer wrote."""
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    mib: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            say(f"writing a run of {size:,} events")
            folder = Written(
                Path(scratch, f"20261125T000000Z-crash-{size}"),
                events=size,
                rate_per_s=RATE_PER_S,
                lost=round(LOST_SHARE * size),
                marked=True,
            ).save()
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: page of {size:,} events")
                begin = time.perf_counter()
                subprocess.run([sys.executable, "-c", DRAW, str(folder)], check=True)
                seconds[size].append(time.perf_counter() - begin)
            mib[size] = (folder / "report.html").stat().st_size / 2**20
    largest = SIZES[-1]
    most_s = max(seconds[largest])
    return Report(
        NAME,
        "The page of a run",
        f"{LOST_SHARE:.0%} of the events are lost; journals, rows, probe samples and stage marks "
        "are there as a run leaves them. Timed is a process of its own, start of Python included.",
        rounds,
        [
            Row(
                f"{size:,} events",
                "reads, reconciles, draws",
                round(median(each), 3),
                "seconds",
                None,
                f"{mib[size]:.2f} MiB",
            )
            for size, each in seconds.items()
        ],
        [
            at_most(f"seconds until the page of {largest:,} events is there", most_s, MOST_S),
            at_most(f"MiB of the page of {largest:,} events", round(mib[largest], 3), MOST_MIB),
        ],
    )

"""How long the command line takes to answer, beside Python itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.report import Report, Row, at_most, median

NAME = "startup"


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Start each in turn; twice the rounds, for each takes no time."""
    harness = str(Path(sys.executable).with_name("lossmeter"))
    commands = {
        "lossmeter --help": [harness, "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        _seconds(command)  # once before, so that bytecode is there
    for number in range(2 * rounds):
        say(f"round {number + 1} of {2 * rounds}: start-up")
        for name, command in commands.items():
            found[name].append(_seconds(command))
    ours = median(found["lossmeter --help"])
    rows = [
        Row(name, "starts and ends", round(median(each), 4), "seconds", median(each) / ours)
        for name, each in found.items()
    ]
    return Report(
        NAME,
        "Start-up of the command line",
        "Each is started as a process of its own.",
        2 * rounds,
        rows,
        [at_most("seconds until `lossmeter --help` has answered", ours, 0.4)],
    )


def _seconds(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin

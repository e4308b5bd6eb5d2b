"""Runs lossmeter as a user does: as a program, with its own processes and exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lossmeter.load.process import events_sent
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes._processes import marked

COMMAND = (sys.executable, "-m", "lossmeter.cli")


@dataclass(frozen=True, slots=True)
class Done:
    """A harness that ended."""

    pid: int
    code: int
    out: str
    err: str

    def results(self) -> list[dict[str, Any]]:
        """Return what ``--json -`` printed."""
        parsed: list[dict[str, Any]] = json.loads(self.out)
        return parsed


def lossmeter(*arguments: str, timeout_s: float = 280) -> Done:
    """Run the harness to its end."""
    return Running(*arguments).end(timeout_s)


class Running:
    """A harness that runs in the background.

    Args:
        arguments: of the command.
        command: how it is started.
        environment: added to that of the tests.
        folder: where it is started.
    """

    def __init__(
        self,
        *arguments: str,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.popen = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200", **(environment or {})},
            cwd=folder,
        )

    def processes(self) -> list[psutil.Process]:
        """Return what it has started and what still runs."""
        found = []
        for process, owner in marked():
            if owner.pid == self.popen.pid:
                with suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(process.pid))
        return found

    def process(self, name: str) -> psutil.Process:
        """Return the oldest of its processes whose name contains ``name``."""
        return min(self.named(name), key=lambda process: process.create_time())

    def named(self, name: str) -> list[psutil.Process]:
        """Return its processes whose command contains ``name``; some may be ending."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if name in process.name() or name in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self, timeout_s: float = 60) -> Done:
        try:
            out, err = self.popen.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.abandon()
            raise
        return Done(self.popen.pid, self.popen.returncode, out, err)

    def abandon(self) -> None:
        """End it and all that it started, whatever state they are in."""
        self.popen.kill()
        self.popen.wait()
        for pipe in (self.popen.stdout, self.popen.stderr):
            if pipe is not None:
                pipe.close()
        kill_all(self.processes())


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """End processes; what ends by itself meanwhile is content with that."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition did not come in time"
        time.sleep(0.05)


def loading(runs: Path) -> bool:
    """Return whether a run in this folder has sent its first 100 events."""
    return any(events_sent(run) > 100 for run in runs.glob("*"))


def left_behind(owner_pid: int) -> list[Owner]:
    """Return the marks of processes that a harness left running."""
    return [owner for _, owner in marked() if owner.pid == owner_pid]

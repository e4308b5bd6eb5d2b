"""The processes of the cluster, each recorded with its start time, so that no other is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from lossmeter.world import programs
from lossmeter.world.install.kubernetes.configuration import ClusterPart
from lossmeter.world.ownership import start_ticks
from lossmeter.world.waiting import wait_for

END_S = 5.0


class Processes:
    """The processes that were started, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / "started.json"
        # Those of this very process, which stay zombies until they are waited for.
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, part: ClusterPart, environment: Mapping[str, str]) -> None:
        """Start one of them and write down which it is."""
        log = self.log(part.name)
        log.unlink(missing_ok=True)
        process = programs.start(part.command, log, environment, folder=self._folder)
        self._children.append(process)
        started = self._started() | {part.name: (process.pid, start_ticks(process.pid))}
        self._record.write_text(json.dumps(started), encoding="ascii")

    def log(self, name: str) -> Path:
        """Return where one of them writes to."""
        return self._folder / "logs" / f"{name}.log"

    def running(self) -> list[str]:
        """Return the names of those that run."""
        return [name for name, each in self._started().items() if _runs(*each)]

    def ended(self) -> list[str]:
        """Return the names of those that were started and no longer run."""
        return [name for name, each in self._started().items() if not _runs(*each)]

    def end(self, *names: str) -> None:
        """End some of them together, kindly at first."""
        started = self._started()
        running = [started[name] for name in names if name in started and _runs(*started[name])]
        deadline = time.monotonic() + END_S
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid, ticks in running:
                if _runs(pid, ticks):
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
            for pid, ticks in running:
                _gone(pid, ticks, max(0.1, deadline - time.monotonic()))
            deadline = time.monotonic() + END_S
        for child in self._children:
            child.poll()

    def _started(self) -> dict[str, tuple[int, int]]:
        try:
            read = json.loads(self._record.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}
        return {name: (int(pid), int(ticks)) for name, (pid, ticks) in read.items()}


def end_shims(socket: Path) -> int:
    """End what keeps containers of one containerd alive, and with it the containers."""
    ended = 0
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            command = process.cmdline()
            if "containerd-shim" in " ".join(command[:1]) and str(socket) in command:
                for one in (*process.children(recursive=True), process):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
                ended += 1
    return ended


def _runs(pid: int, ticks: int) -> bool:
    return pid != 0 and ticks != 0 and start_ticks(pid) == ticks


def _gone(pid: int, ticks: int, within_s: float) -> bool:
    return wait_for(lambda: not _runs(pid, ticks), within_s, 0.02)

"""Slots whose processes are stand-ins: what each run comes to is said by the test."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossmeter.commands._asked import Asked, Wanted
from lossmeter.commands._repeating import Repeats
from lossmeter.commands._running import Placed
from lossmeter.commands._side_by_side import Job, SideBySide, jobs_of, start_of
from lossmeter.commands._turns import Turns
from lossmeter.commands._worker import RunRequest, Start
from lossmeter.model import Verdict
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plugins import load
from lossmeter.record.result import Result
from lossmeter.world import runtimes
from tests.support.judged_runs import a_result

CATALOGUE = Catalogue.here()
LOCAL = load(runtimes, "local", "runtime").RUNTIME
MANY = 64.0


def cells_of(experiment: str, *targets: str) -> list[Cell]:
    return cells(CATALOGUE, CATALOGUE.experiment(experiment), list(targets), [])


def jobs_for(*asked: Cell) -> list[Job]:
    return jobs_of([Placed(cell, LOCAL) for cell in asked], asked)


def result_of(request: RunRequest, **changes: Any) -> Result:
    named = {"experiment": request.experiment, "target": request.target, "repeat": request.repeat}
    return a_result("pass").model_copy(update=named | changes)


STARVED = {"verdict": Verdict.INCONCLUSIVE, "starved": True}


@dataclass
class Process:
    """Stands in for a process: what each run comes to is said by ``make``."""

    make: Callable[[Process, RunRequest], Result]
    start: Start
    requests: list[RunRequest]
    closed: bool = False
    interrupts: int = 0

    def run(self, request: RunRequest, narrator: object) -> Result:
        del narrator
        assert not self.closed
        self.requests.append(request)
        return self.make(self, request)

    def interrupt(self) -> None:
        self.interrupts += 1

    def close(self) -> None:
        self.closed = True


class Processes:
    """Makes stand-ins, and remembers who made what in which order."""

    def __init__(self, make: Callable[[Process, RunRequest], Result]) -> None:
        self._make = make
        self.requests: list[RunRequest] = []
        self.all: list[Process] = []

    def __call__(self, start: Start) -> Process:
        self.all.append(Process(self._make, start, self.requests))
        return self.all[-1]

    def made(self) -> list[tuple[str, str, str, int]]:
        return [(e.experiment, e.target, e.again_for, e.at_once) for e in self.requests]


def beside_of(
    jobs: list[Job],
    processes: Processes,
    repeats: Repeats | None = None,
    idle: float = MANY,
    ends_at: float = math.inf,
) -> SideBySide:
    start, turns = start_of(Asked(experiments=["all"]), 1, 2), Turns(lambda: idle)
    return SideBySide(start, jobs, repeats, turns, processes, ends_at=ends_at)  # type: ignore[arg-type]


def all_of(beside: SideBySide) -> list[Result]:
    with beside as entered:
        return list(entered.runs())


def wanted_of(asked: list[Cell]) -> Wanted:
    return Wanted(["crash"], asked, [])


class Together:
    """Makes every run wait until as many as ``of`` go on at once."""

    def __init__(self, of: int) -> None:
        self.barrier = threading.Barrier(of, timeout=10)
        self.most = self.now = 0
        self.lock = threading.Lock()

    def __call__(self, process: Process, request: RunRequest) -> Result:
        del process
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        if request.at_once > 1:
            self.barrier.wait()
        with self.lock:
            self.now -= 1
        return result_of(request)

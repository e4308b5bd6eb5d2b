"""A process that makes runs for another one: each line it is told is a run, each answer a line.

What is told: first ``Start``, then one ``RunRequest`` after another until there are no more.
What it answers, one JSON object a line: ``say`` and ``progress`` while a run goes on, then
``result``, or ``failed`` with the kind of the error.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TextIO

from pydantic import BaseModel, Field

from lossmeter.commands._asked import AnyAsked
from lossmeter.commands._interrupts import give_up, one_interrupt
from lossmeter.commands._running import Placed, make_run, pool_of
from lossmeter.commands._streams import mend
from lossmeter.errors import ExitCode, HarnessError, InterruptedRunError, UsageError
from lossmeter.run.narrator import Progress
from lossmeter.world.ownership import is_program

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Cell

PROGRESS_EVERY_S = 0.25
LOOK_EVERY_S = 1.0
PATIENCE_OF_AN_ORPHAN_S = 60.0
_PR_SET_PDEATHSIG = 1


class Start(BaseModel):
    """What such a process is told first.

    Attributes:
        of: how many there are.
        parent: the process that started it.
    """

    asked: Annotated[AnyAsked, Field(discriminator="kind")]
    seed: int
    of: int
    parent: int


class RunRequest(BaseModel):
    """A run that it is to make.

    Attributes:
        cell: its place among those that were asked for; ``experiment`` and ``target``: its name.
        at_once, again_for: as in ``Ask``.
    """

    cell: int
    experiment: str
    target: str
    runtime: str
    repeat: int
    at_once: int
    again_for: str = ""


class Answers:
    """Where the answers go; that nobody reads them any more keeps no run from healing."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._reported = ("", 0.0)

    def give(self, kind: str, what: object) -> None:
        """Give one answer."""
        with suppress(OSError, ValueError):
            self._to.write(json.dumps({kind: what}) + "\n")
            self._to.flush()

    def fail(self, error: HarnessError) -> None:
        """Say why there is no result."""
        self.give("failed", {"kind": type(error).__name__, "why": str(error)})

    def say(self, text: str) -> None:
        """Pass one finished step on."""
        self.give("say", text)

    def progress(self, at: Progress) -> None:
        """Pass on how far the run is, as often as anybody looks."""
        phase, then = self._reported
        if at.phase != phase or time.monotonic() - then >= PROGRESS_EVERY_S:
            self._reported = (at.phase, time.monotonic())
            self.give("progress", asdict(at))


def main() -> None:
    """Make the runs that standard input asks for, and exit with a documented code."""
    is_program()
    mend()
    code = ExitCode.WITHIN_BUDGET
    # Whatever else prints must not get among the answers.
    answers = Answers(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    try:
        with one_interrupt(below=True):
            start = Start.model_validate_json(sys.stdin.readline())
            _end_with(start.parent)
            _serve(start, answers)
    except HarnessError as error:
        answers.fail(error)
        code = error.exit_code
    except KeyboardInterrupt:
        answers.fail(InterruptedRunError("interrupted between two runs"))
        code = ExitCode.INTERRUPTED
    sys.exit(code)


def _end_with(parent: int) -> None:
    """Be interrupted when the parent is killed; nobody would read what is found out."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise KeyboardInterrupt
    threading.Thread(target=_outlive, args=(parent,), name="parent", daemon=True).start()


def _outlive(parent: int) -> None:
    """Give up, some time after the parent is gone: nobody else can end what hangs."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    time.sleep(PATIENCE_OF_AN_ORPHAN_S)
    give_up()


def _serve(start: Start, answers: Answers) -> None:
    from lossmeter.plan.catalogue import Catalogue

    catalogue = Catalogue.here()
    cells = start.asked.wanted(catalogue, _drop).cells
    watch = start.asked.watch(cells, catalogue)
    with pool_of(start.asked.fresh_servers, start.of) as pool:
        for line in iter(sys.stdin.readline, ""):
            request = RunRequest.model_validate_json(line)
            try:
                result = make_run(
                    *(_placed(cells, request), start.seed, catalogue, answers),
                    repeat=request.repeat,
                    watch=watch,
                    pool=pool,
                    at_once=request.at_once,
                    again_for=request.again_for,
                )
            except UsageError as error:
                answers.fail(error)
            else:
                answers.give("result", result.model_dump(mode="json"))


def _placed(cells: Sequence[Cell], request: RunRequest) -> Placed:
    """Return the cell that is meant.

    Raises:
        HarnessError: the files say something else by now.
    """
    from lossmeter.commands._shared import runtime_named

    cell = cells[request.cell] if request.cell < len(cells) else None
    if cell is None or (cell.name, cell.target.name) != (request.experiment, request.target):
        raise HarnessError(
            f"{request.experiment} on {request.target} is no more what was asked for: files of "
            "experiments or targets were changed meanwhile"
        )
    return Placed(cell, runtime_named(request.runtime))


def _drop(text: str) -> None:
    """Drop what the parent has said already."""
    del text

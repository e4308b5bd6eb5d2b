"""Runs of several cells at once, as ``--jobs`` of ``run``, ``board`` and ``results`` makes them.

Each slot is a thread here and a process below it, which makes one run after the other on servers,
ports and marks of its own: whatever is global to a harness is so to each of them. Nothing but
whose turn it is and what is shown has to be agreed upon.
"""

from __future__ import annotations

import math
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

from lossmeter.commands._asked import AnyAsked
from lossmeter.commands._repeating import Repeats
from lossmeter.commands._running import Placed, title_of
from lossmeter.commands._shared import ERR, say
from lossmeter.commands._turns import LOOK_EVERY_S, StoppedError, Turns
from lossmeter.commands._worker import RunRequest, Start
from lossmeter.commands._worker_process import GoneError, WorkerProcess
from lossmeter.errors import HarnessError, InterruptedRunError, UsageError, traceback_of
from lossmeter.model import Verdict
from lossmeter.record.result import Result
from lossmeter.report.side_by_side import Row, Screen
from lossmeter.world import recovery
from lossmeter.world.headroom import Headroom
from lossmeter.world.interrupts import NUMBERS

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Cell

Handler = Callable[[int, FrameType | None], object]
# In the place of a cell's, and after all of them.
_OF_NO_CELL = sys.maxsize


@dataclass(frozen=True, slots=True)
class Job:
    """A cell to be run, with its repeats.

    Attributes:
        place: its number among all that are run, from 1.
        index: its place among all that were asked for.
        why_alone: why nothing may run beside it; None where others may.
        repeat: which repeat it is, where each is a job; those before it are made first.
    """

    place: int
    index: int
    placed: Placed
    why_alone: str | None
    repeat: int = 0

    @property
    def target(self) -> str:
        """Return the name of its target."""
        return self.placed.cell.target.name


def jobs_of(placed: Sequence[Placed], asked: Sequence[Cell]) -> list[Job]:
    """Return the cells that can be run as jobs; ``asked`` are all that were asked for."""
    from lossmeter.run.admission import needs_alone

    return [
        Job(place, next(i for i, cell in enumerate(asked) if cell is each.cell), each, why)
        for place, each in enumerate(placed, 1)
        for why in [needs_alone(each.cell, each.runtime)]
    ]


def say_alone(jobs: Sequence[Job]) -> None:
    """Say what nothing is run beside, by reason; each cell once, however often it is run."""
    alone: dict[str, dict[str, None]] = {}
    for job in jobs:
        if job.why_alone is not None:
            alone.setdefault(job.why_alone, {})[f"{job.placed.cell.name} on {job.target}"] = None
    for why, names in alone.items():
        say(f"run alone, after the others: {', '.join(names)}, since {why}")


def start_of(asked: AnyAsked, seed: int, at_once: int) -> Start:
    """Return what each process is told; which of them it is follows."""
    return Start(asked=asked, seed=seed, of=at_once, parent=0)


class Jobs:
    """Hands out jobs: in their order, but one on a target that a slot had servers for first.

    Those that must be alone come last, and all to the first slot. Of several repeats all of the
    first come before any of the second. From ``ends_at`` on, in monotonic seconds, there are none.
    """

    def __init__(self, jobs: Sequence[Job], ends_at: float = math.inf) -> None:
        self._ends_at = ends_at
        self._beside = [job for job in jobs if job.why_alone is None]
        self._alone = [job for job in jobs if job.why_alone is not None]
        self._had: dict[int, set[str]] = {}
        self._lock = threading.Lock()

    def left(self) -> list[Job]:
        """Return those that nobody has taken."""
        return [*self._beside, *self._alone]

    @property
    def in_time(self) -> bool:
        """Return whether there is time for another one."""
        return time.monotonic() < self._ends_at

    def take(self, slot: int) -> Job | None:
        """Return the next for a slot; None when there is nothing for it any more."""
        with self._lock:
            if not self.in_time:
                return None
            if self._alone and slot == 0 and self._alone[0].repeat < self._next_beside():
                return self._alone.pop(0)
            if not self._beside:
                return None
            mine = self._had.setdefault(slot, set())
            others = {name for had in self._had.values() for name in had} - mine
            ranked = sorted(
                self._beside,
                key=lambda job: (job.repeat, job.target not in mine, job.target in others),
            )
            self._beside.remove(ranked[0])
            mine.add(ranked[0].target)
            return ranked[0]

    def _next_beside(self) -> float:
        return min((job.repeat for job in self._beside), default=math.inf)


def spoilt(result: Result) -> bool:
    """Return whether a run says nothing about its target for want of CPU."""
    return result.verdict is Verdict.INCONCLUSIVE and result.starved


@dataclass(slots=True)
class _Slot:
    """One thread's place, and its process once it has one."""

    number: int
    worker: WorkerProcess | None = None


class SideBySide:
    """Makes runs at once while it is entered; left in any way, nothing of them is left running.

    Args:
        start: what the processes are told; ``parent`` is filled in.
        repeats: how often each is run; None for once.
        ends_at: when no further run is begun, monotonic seconds.
        turns, worker: stand-ins for tests.
    """

    def __init__(
        self,
        start: Start,
        jobs: Sequence[Job],
        repeats: Repeats | None,
        turns: Turns | None = None,
        worker: Callable[[Start], WorkerProcess] = WorkerProcess,
        *,
        ends_at: float = math.inf,
    ) -> None:
        self._start, self._repeats, self._worker = start, repeats, worker
        self._count = len(jobs)
        self._jobs = Jobs(jobs, ends_at)
        self._headroom = Headroom()
        self._turns = turns or Turns(self._headroom.idle_cores)
        self._screen = Screen(ERR)
        self._made: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._problems: list[tuple[int, HarnessError]] = []
        self._workers: list[WorkerProcess] = []
        self._handlers: dict[int, Handler] = {}
        self._interrupted = False
        slots = min(start.of, len(jobs))
        self._threads = [
            threading.Thread(target=self._work, args=(_Slot(number),), name=f"slot-{number}")
            for number in range(slots)
        ]

    def __enter__(self) -> Self:
        self._screen.__enter__()
        for number in NUMBERS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._pass_on)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del error, trace
        if kind is not None:
            self._stop()
        self._wait()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._screen.__exit__()
        if self._interrupted and kind is None:
            # It came when all was over but this.
            raise KeyboardInterrupt

    def runs(self) -> Iterator[Result]:
        """Yield every run as soon as it is judged.

        Raises:
            HarnessError: at the end, what kept the first of them from being made.
            InterruptedRunError: Ctrl-C or SIGTERM; all that was judged has been yielded.
        """
        while any(thread.is_alive() for thread in self._threads):
            self._headroom.look()
            yield from self._judged(LOOK_EVERY_S)
        yield from self._judged(0)
        if self._interrupted:
            raise InterruptedRunError(
                "interrupted: faults healed, everything stopped; what there is lies in the runs' "
                "folders"
            )
        if self._problems:
            raise min(self._problems, key=lambda each: each[0])[1]
        if (left := self._jobs.left()) and self._jobs.in_time:
            raise HarnessError(f"defect of the harness: {len(left)} of {self._count} never began")

    @property
    def problems(self) -> list[tuple[int, HarnessError]]:
        """Return what kept cells from being run, each by its place among those asked for."""
        return [each for each in self._problems if each[0] != _OF_NO_CELL]

    def _judged(self, within_s: float) -> Iterator[Result]:
        try:
            yield self._made.get(timeout=within_s) if within_s else self._made.get_nowait()
            while True:
                yield self._made.get_nowait()
        except queue.Empty:
            return

    # Ending.

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Pass an interrupt on to the processes, whose runs end then, and with them ``runs``.

        Nothing is raised in the midst of whatever this thread is at: what has been judged is
        to be shown.
        """
        self._interrupt()
        try:
            self._handlers[number](number, frame)
        except KeyboardInterrupt:
            self._interrupted = True

    def _stop(self) -> None:
        """Interrupt what goes on, unless a signal has done so: a second one gives up healing."""
        if not self._turns.stopped:
            self._interrupt()

    def _interrupt(self) -> None:
        # No run begins any more, of those either that have their turn and no process yet.
        self._turns.stopped = True
        for worker in self._workers:
            worker.interrupt()

    def _wait(self) -> None:
        """Wait for all slots; interrupts are passed on meanwhile."""
        while any(thread.is_alive() for thread in self._threads):
            for thread in self._threads:
                thread.join(LOOK_EVERY_S)

    # In the threads.

    def _work(self, slot: _Slot) -> None:
        try:
            while (job := self._jobs.take(slot.number)) is not None:
                self._carry_out(slot, job)
        except StoppedError:
            pass
        finally:
            self._close(slot)

    def _carry_out(self, slot: _Slot, job: Job) -> None:
        """Make the runs of a job; what cannot be run does not stop the others."""
        title = title_of(job.place, self._count, job.placed.cell)
        with self._screen.narrator(title) as narrator:
            try:
                for result in self._runs_of(slot, job, narrator):
                    self._made.put(result)
            except UsageError as error:
                say(f"not run: {error}")
                self._problems.append((job.index, error))
            except HarnessError as error:
                narrator.say(str(error))
                self._problems.append((job.index, error))
                self._close(slot)
                if self._turns.stopped:
                    raise StoppedError from None
                if isinstance(error, GoneError):
                    self._recover(job)
            except StoppedError:
                raise
            except Exception as error:  # noqa: BLE001 - a cell must not be missing in silence
                sys.stderr.write(traceback_of(error))
                defect = HarnessError(f"defect of the harness, {type(error).__name__}: {error}")
                self._problems.append((job.index, defect))

    def _recover(self, job: Job) -> None:
        """Remove what a process left that was killed, before it is in the way of others."""
        for line in recovery.recover([job.placed.runtime]):
            say(f"removed what a killed run left: {line}")

    def _runs_of(self, slot: _Slot, job: Job, narrator: Row) -> Iterator[Result]:
        if self._repeats is None:
            yield self._run(slot, job, job.repeat, narrator)
            return
        yield from self._repeats.runs(
            lambda number: [self._run(slot, job, number, narrator)], narrator.say
        )

    def _run(self, slot: _Slot, job: Job, repeat: int, narrator: Row) -> Result:
        """Make one run beside others, and again alone if that starved it; or alone at once."""
        cell = job.placed.cell
        request = RunRequest(
            cell=job.index,
            experiment=cell.name,
            target=cell.target.name,
            runtime=job.placed.runtime.name,
            repeat=repeat,
            at_once=len(self._threads),
        )
        again_for = ""
        if job.why_alone is None:
            with self._turns.beside() as turn:
                narrator.starts()
                result = self._in_process(slot).run(request, narrator)
            if not (turn.shared and spoilt(result)):
                return result
            narrator.say("starved of CPU beside others: it is made again, alone")
            again_for = result.run_id
        with self._turns.alone():
            narrator.starts()
            alone = request.model_copy(update={"at_once": 1, "again_for": again_for})
            return self._in_process(slot).run(alone, narrator)

    def _in_process(self, slot: _Slot) -> WorkerProcess:
        """Return the slot's process, started when it is first needed."""
        if slot.worker is None:
            slot.worker = self._worker(self._start)
            self._workers.append(slot.worker)
            if self._turns.stopped:
                slot.worker.interrupt()
        return slot.worker

    def _close(self, slot: _Slot) -> None:
        worker, slot.worker = slot.worker, None
        if worker is None:
            return
        with self._turns.clearing():
            try:
                worker.close()
            except InterruptedRunError:
                # Reported once, for all.
                pass
            except HarnessError as error:
                self._problems.append((_OF_NO_CELL, error))

"""What is lost, saved or dead-lettered when inserts fail for a while.

Simulated event by event: workers take events in turn, and an insert in the time of trouble
fails as the trouble has it. Without retry the event is lost. With retry it waits in memory,
beside the workers, and tries again; what has failed for good goes into the dead-letter queue
as long as there is room, and is lost beyond.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lossmeter.experiment import Load, Observed
from lossmeter.model import Expected, Predicted, plural
from lossmeter.plan.predict.overload import Intake, arrivals, intake_of
from lossmeter.plan.predict.safe import figure

# After a database is back the pool of connections finds out at the next request.
BACK_S = 0.3
# How much the number of failures may differ since a busy machine is slower, as a share.
BUSY_SHARE = 0.15
# It lies among the dead letters then, and yet it is delivered.
_UNDONE = "an insert whose answer did not come back may have been done"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one insert ended: whether it was done, and how many seconds it took."""

    done: bool
    took_s: float


# The place of an event in the load, and when its insert begins.
Trouble = Callable[[int, float], Attempt]

FINE = Attempt(done=True, took_s=0.0)


@dataclass(frozen=True, slots=True)
class Care:
    """What a dispatcher does with an event whose insert failed.

    Attributes:
        attempts: further ones, attempt i after ``base ** i`` seconds.
        letters: dead letters that it keeps; None without a dead-letter queue.
    """

    attempts: int = 0
    base: float = 2.0
    letters: int | None = None

    @property
    def waits_s(self) -> float:
        """Return how long an event waits between all its attempts together."""
        return sum(self.base**attempt for attempt in range(self.attempts))


@dataclass(slots=True)
class Fate:
    """What becomes of the events.

    Attributes:
        given_up_s: when each event was given up that failed for good.
        lost, dead_lettered: of these.
        rows_s: when the others were persisted.
    """

    failed: int = 0
    given_up_s: list[float] = field(default_factory=list)
    lost: int = 0
    dead_lettered: int = 0
    rows_s: list[float] = field(default_factory=list)


def endure(due_s: Sequence[float], intake: Intake, care: Care, trouble: Trouble) -> Fate:
    """Return what becomes of events under trouble; the queue is taken to be large enough."""
    fate = Fate()
    free = [0.0] * intake.workers
    for place, at in enumerate(due_s):
        takes = max(at, heapq.heappop(free))
        begins = takes + intake.handler_time_s
        first = trouble(place, begins)
        ends = begins + first.took_s
        heapq.heappush(free, ends)
        if first.done:
            fate.rows_s.append(ends)
            continue
        fate.failed += 1
        _try_again(fate, place, ends, intake.handler_time_s, care, trouble)
    letters = 0 if care.letters is None else care.letters
    fate.dead_lettered = min(letters, len(fate.given_up_s))
    fate.lost = len(fate.given_up_s) - fate.dead_lettered
    return fate


def _try_again(  # noqa: PLR0913, PLR0917 - the state of one event
    fate: Fate, place: int, failed_s: float, handler_s: float, care: Care, trouble: Trouble
) -> None:
    for attempt in range(care.attempts):
        begins = failed_s + care.base**attempt + handler_s
        again = trouble(place, begins)
        failed_s = begins + again.took_s
        if again.done:
            fate.rows_s.append(failed_s)
            return
    fate.given_up_s.append(failed_s)


# Kinds of trouble.


def away(begins_s: float, held_s: float, timeout_s: float) -> Trouble:
    """Return a database that cannot be reached; who asks waits for it until its time is out."""
    ends_s = begins_s + held_s

    def trouble(_: int, at: float) -> Attempt:
        if not begins_s <= at < ends_s:
            return FINE
        back_s = ends_s + BACK_S - at
        return Attempt(back_s <= timeout_s, min(back_s, timeout_s))

    return trouble


def full(begins_s: float, held_s: float, fitting: int) -> Trouble:
    """Return a table that takes ``fitting`` more rows, and refuses the others at once."""
    left = fitting

    def trouble(_: int, at: float) -> Attempt:
        nonlocal left
        if not begins_s <= at < begins_s + held_s:
            return FINE
        left -= 1
        return FINE if left >= 0 else Attempt(done=False, took_s=0.0)

    return trouble


def chosen(begins_s: float, held_s: float, hit: Callable[[int], bool], took_s: float) -> Trouble:
    """Return inserts of which some fail, after a time in which the server looks for the reason."""

    def trouble(place: int, at: float) -> Attempt:
        if begins_s <= at < begins_s + held_s and hit(place):
            return Attempt(done=False, took_s=took_s)
        return FINE

    return trouble


def late(begins_s: float, held_s: float, adds_s: float, timeout_s: float) -> Trouble:
    """Return a database whose answers come late."""

    def trouble(_: int, at: float) -> Attempt:
        if not begins_s <= at < begins_s + held_s:
            return FINE
        return Attempt(adds_s <= timeout_s, min(adds_s, timeout_s))

    return trouble


def every_nth(load: Load, every: int, remainder: int) -> Callable[[int], bool]:
    """Return what tells whether an event's sequence leaves a remainder, by its place."""
    return lambda place: place // len(load.ids) % every == remainder


# The prediction.


def care_of(seen: Observed) -> Care:
    """Return what an observed target does with an event whose insert failed."""
    letters = seen.settings.get("dead_letter_capacity")
    return Care(
        attempts=int(seen.settings.get("retry_attempts", 0)),
        base=seen.settings.get("retry_base", 2.0),
        letters=None if letters is None else int(letters),
    )


@dataclass(frozen=True, slots=True)
class Slack:
    """By how many events the number of failures may differ, and why."""

    events: int
    reason: str


def failing(seen: Observed, trouble: Trouble, what: str, slack: Slack | None = None) -> Predicted:
    """Predict what is lost, and what is dead-lettered instead."""
    intake = intake_of(seen)
    if intake is None or seen.held_s is None:
        return Predicted(basis="the target file does not tell workers, handler and capacity")
    care = care_of(seen)
    fate = endure(arrivals(seen.load), intake, care, trouble)
    given_up = len(fate.given_up_s)
    may = slack or _waiting(intake.workers, given_up)
    differs = may.events if given_up else 0
    lost_differs = differs if care.letters is None or given_up + differs > care.letters else 0
    figures = []
    if care.letters is not None:
        overflows = given_up - differs > care.letters
        figures.append(
            Expected(
                "dead_lettered",
                fate.dead_lettered,
                min(intake.workers, care.letters) if overflows else differs,
                _UNDONE if overflows else may.reason if differs else "",
            )
        )
    return Predicted(
        lost=fate.lost,
        lost_tolerance=lost_differs,
        tolerance_reason=may.reason if lost_differs else "",
        # An insert whose answer did not come back may have been done, and is tried again.
        duplicated_max=intake.workers if care.attempts else 0,
        basis=(
            f"{what} for {seen.held_s:.1f} s: {fate.failed} first attempts fail, "
            f"{care.attempts} more over {care.waits_s:g} s, {given_up} given up, {_kept(care)}"
        ),
        figures=tuple(figures),
    )


def _kept(care: Care) -> str:
    if care.letters is None:
        return "no dead-letter queue"
    return f"a dead-letter queue of {care.letters}"


def _waiting(workers: int, given_up: int) -> Slack:
    return Slack(
        2 * workers + math.ceil(BUSY_SHARE * given_up),
        "each worker may fail once more or less at either end of the trouble, and on a busy "
        f"machine {BUSY_SHARE:.0%} of the attempts come too late or not at all",
    )


def slowed(seen: Observed, round_trips: int, begins_s: float) -> Predicted:
    """Predict what a database manages whose answers come late, by the number of round trips."""
    intake = intake_of(seen)
    if intake is None or not seen.held_s:
        return Predicted(basis="the target file does not tell workers, handler and capacity")
    latency_s = seen.parameters["latency_ms"] / 1000
    timeout_s = seen.settings.get("database_timeout_s", math.inf)
    trouble = late(begins_s, seen.held_s, round_trips * latency_s, timeout_s)
    fate = endure(arrivals(seen.load), intake, care_of(seen), trouble)
    ends_s = begins_s + seen.held_s
    held = sum(begins_s < row_s <= ends_s for row_s in fate.rows_s) / seen.held_s
    # One insert more or less of each worker at either end.
    differs = 2 * intake.workers / seen.held_s
    may = _waiting(intake.workers, fate.lost)
    return Predicted(
        lost=fate.lost,
        lost_tolerance=may.events if fate.lost else 0,
        tolerance_reason=may.reason if fate.lost else "",
        duplicated_max=0 if not fate.failed else intake.workers,
        basis=(
            f"{round_trips} round trips of {latency_s:g} s an insert for {seen.held_s:.1f} s, "
            + plural(intake.workers, "worker")
        ),
        figures=(
            figure(
                "held_per_s",
                held,
                differs,
                2,
                "each worker may end one insert more or less at either end of the fault",
            ),
        ),
    )

"""What a search for losing moments has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lossmeter.experiment import STEPS
from lossmeter.judge.ledger.steps import AtStep
from lossmeter.model import HELD
from lossmeter.plan.behaviour import Behaviour
from lossmeter.plan.catalogue import Cell
from lossmeter.record.result import Result

# Freezing the target takes longer than this; what is over sooner is not a step at which
# anything can be hit, and its neighbours stand for it.
INSTANT_S = 0.0001


@dataclass(slots=True)
class Found:
    """What is known of one step.

    Attributes:
        runs: how many runs were aimed at it; ``hits``: that found an event there.
        there, lost, duplicated: events, over all runs and wherever they were aimed.
        dwell_s: the median time that an event stays there; None when marks do not tell.
    """

    step: str
    runs: int = 0
    hits: int = 0
    looks: int = 0
    there: int = 0
    lost: int = 0
    duplicated: int = 0
    dwell_s: float | None = None

    def add(self, seen: AtStep) -> None:
        """Add what one run showed."""
        self.there += seen.there
        self.lost += seen.lost
        self.duplicated += seen.duplicated


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that loses: the cell, what it lost, and where it is kept."""

    cell: Cell
    step: str
    events: int
    lost: int
    file: Path


@dataclass(slots=True)
class Report:
    """What a search came to.

    Attributes:
        steps: in the order of an event's way.
        smallest: the smallest schedule that loses; None when none does.
        unfinished: why the search ended early; None when it did not.
        took_s: of the whole search; ``lost_after_s``: until a run had lost something, None
            when none did.
    """

    target: str
    steps: dict[str, Found] = field(default_factory=lambda: {s: Found(s) for s in STEPS})
    results: list[Result] = field(default_factory=list)
    smallest: Schedule | None = None
    unfinished: str | None = None
    took_s: float = 0.0
    lost_after_s: float | None = None

    def losing(self) -> list[Found]:
        """Return the steps that lost events, the most first."""
        found = [step for step in self.steps.values() if step.lost]
        return sorted(found, key=lambda step: -step.lost)


def instant(found: Found) -> bool:
    """Return whether events pass a step faster than anybody could aim."""
    return found.dwell_s is not None and found.dwell_s < INSTANT_S


def findings(report: Report, behaviour: Behaviour) -> Sequence[str]:
    """Return in plain words what was found, and whether it is what the target's file says."""
    said = []
    for found in report.steps.values():
        if found.lost:
            said.append(f"{found.step}: loses {found.lost:,}: {_meaning(found.step, behaviour)}")
        if found.duplicated:
            said.append(f"{found.step}: duplicates {found.duplicated:,}: {_TWICE[found.step]}")
    held = {n: sum(result.count(n) or 0 for result in report.results) for n in HELD}
    return said + [
        f"over all runs {number:,} {name.replace('_', '-')}, and so not delivered"
        for name, number in held.items()
        if number
    ]


_AGAIN = "delivered again after it had been inserted"
_TWICE: Mapping[str, str] = {
    **dict.fromkeys(STEPS, _AGAIN),
    "inserted": "inserted and not yet acknowledged, so it is delivered again",
    "dequeued": "its insert was under way and took effect, and it is delivered again",
}


def _meaning(step: str, behaviour: Behaviour) -> str:
    match step:
        case "accepted":
            return "producers get their ack before the queue has the event"
        case "enqueued" | "acked":
            return _queued(behaviour)
        case "dequeued" if behaviour.in_hand_survives_crash:
            return (
                "NOT as its file says: an event in hand is gone, so it is acknowledged to the "
                "queue before it is inserted"
            )
        case "dequeued":
            return "what is in hand dies with the process, as its file says"
        case _:
            return "the database does not keep what it confirmed"


def _queued(behaviour: Behaviour) -> str:
    if not behaviour.queue_survives_crash:
        return "what is queued dies with the process, as its file says"
    if behaviour.in_hand_survives_crash:
        return "NOT as its file says: the queue does not keep what it said it had"
    return "the queue had handed it out, and it died on its way to a worker"

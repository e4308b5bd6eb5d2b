"""What faults that end the target have in common: two lives, and what tells them apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from harness.errors import EvidenceError, FaultError
from harness.model import Evidence
from harness.site import (
    Event,
    Exit,
    Incarnation,
    Orchestrated,
    Recorded,
    Sample,
    Site,
    Startable,
)

SEEN_AGAIN_WITHIN_S = 10.0
RECORDED_WITHIN_S = 2.0
ENGINE = "engine-events"
ORCHESTRATOR = "orchestrator"

Capability = TypeVar("Capability")


@dataclass(frozen=True, slots=True)
class Before:
    """The life that a fault is about to end.

    Attributes:
        life: the process.
        last: the last answer that the health probe got of it; None when it never answered.
        at_ns: wall clock of this look.
    """

    life: Incarnation
    last: Sample | None
    at_ns: int

    @classmethod
    def look(cls, site: Startable, samples: Sequence[Sample]) -> Before:
        """Look at the present life."""
        last = next((sample for sample in reversed(samples) if sample.ok), None)
        return cls(site.incarnation(), last, time.time_ns())


def capable(site: Site, capability: type[Capability], fault: str) -> Capability:
    """Return the site as one that has a capability.

    Raises:
        FaultError: it has not.
    """
    if not isinstance(site, capability):
        raise FaultError(f"{fault} needs a target that is {capability.__name__.lower()}")
    return site


def no_parameters(fault: str, parameters: Mapping[str, object]) -> None:
    """Check that a fault that takes no parameters was given none.

    Raises:
        FaultError: it was.
    """
    if parameters:
        raise FaultError(f"{fault} takes no parameters, got {', '.join(parameters)}")


def ended(before: Before, end: Exit, claim: str, holds: bool) -> Evidence:
    """Return what the one who waited for the process says of its end."""
    return Evidence(
        source=end.source,
        claim=claim,
        value=f"pid {before.life.pid}, exit code {end.code}",
        holds=holds,
        at_ns=end.at_ns,
    )


def seen_again(site: Site) -> Sample | None:
    """Wait until the health probe gets an answer; None when it gets none in time."""
    return site.probe.wait_for(lambda sample: sample.ok, SEEN_AGAIN_WITHIN_S)


def new_life(before: Before, after: Incarnation) -> Evidence:
    """Return what the kernel says: another process serves now."""
    old, new = before.life, after
    if not old.pid and not new.pid:
        return Evidence(
            source="container-id",
            claim="another container serves now than the one that ended",
            value=f"{old.name} became {new.name}",
            holds=old.name != new.name and bool(new.name),
            at_ns=new.started_ns,
        )
    return Evidence(
        source="process-table",
        claim="the process that serves now started later than the one that ended",
        value=(
            f"pid and start tick {old.pid}/{old.start_ticks} became {new.pid}/{new.start_ticks}"
        ),
        holds=(old.pid, old.start_ticks) != (new.pid, new.start_ticks)
        and new.start_ticks >= old.start_ticks,
        at_ns=new.started_ns,
    )


def gap(site: Site, from_ns: int, again: Sample | None) -> Evidence:
    """Return what the health probe says: for a while nobody answered."""
    until_ns = again.asked_ns if again else time.time_ns()
    failed = [s for s in site.probe.samples() if not s.ok and from_ns <= s.answered_ns <= until_ns]
    seconds = (until_ns - from_ns) / 1e9
    return Evidence(
        source="health-probe",
        claim="the target did not answer between its end and its restart",
        value=f"{len(failed)} probes without an answer within {seconds:.3f} s",
        holds=bool(failed) and again is not None,
        at_ns=from_ns,
    )


def new_boot(before: Before, again: Sample | None) -> list[Evidence]:
    """Return what the target says of itself; nothing for one that has no boot id."""
    if before.last is None or not before.last.boot_id:
        return []
    now = again.boot_id if again else "no answer"
    return [
        Evidence(
            source="boot-id",
            claim="the target gives itself another boot id",
            value=f"{before.last.boot_id} became {now}",
            holds=again is not None and now != before.last.boot_id,
            at_ns=again.answered_ns if again else time.time_ns(),
        )
    ]


def recorded(
    site: Site, since_ns: int, claim: str, holds: Callable[[Sequence[Event]], bool]
) -> list[Evidence]:
    """Return what the engine recorded of the target; nothing where no engine runs it.

    A record with a gap speaks against the fault: what it does not show may have happened.
    """
    if not isinstance(site, Recorded):
        return []
    return [_heard(ENGINE, partial(site.events, since_ns), claim, holds)]


def accounted(
    site: Site, since_ns: int, claim: str, holds: Callable[[Sequence[str]], bool]
) -> list[Evidence]:
    """Return what an orchestrator wrote down of the target; nothing where there is none.

    Args:
        site: the target.
        since_ns: from when on.
        claim: what it should have written down.
        holds: whether that stands in its actions, told as by ``actions``.
    """
    if not isinstance(site, Orchestrated):
        return []

    def stands(events: Sequence[Event]) -> bool:
        return holds(actions(events))

    return [_heard(ORCHESTRATOR, partial(site.account, since_ns), claim, stands)]


def _heard(
    source: str,
    ask: Callable[[], Sequence[Event]],
    claim: str,
    holds: Callable[[Sequence[Event]], bool],
) -> Evidence:
    """Ask until it holds, or for a while; a record comes a little after what it tells."""
    deadline = time.monotonic() + RECORDED_WITHIN_S
    while True:
        try:
            events = ask()
        except EvidenceError as error:
            return Evidence(source, claim, str(error), False, time.time_ns())
        if holds(events) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    told = ", ".join(_told(event) for event in events) or "nothing was recorded"
    at_ns = events[0].at_ns if events else time.time_ns()
    return Evidence(source, claim, told, holds(events), at_ns)


def actions(events: Sequence[Event]) -> list[str]:
    """Return what happened, in order, with signals and exit codes: ``kill 15``, ``die 0``."""
    return [_told(event) for event in events]


def did(action: str) -> Callable[[Sequence[Event]], bool]:
    """Return what looks for one thing in a record."""
    return lambda events: action in actions(events)


def _told(event: Event) -> str:
    told = event.attributes
    more = told.get("signal") or told.get("exitCode") or told.get("reason")
    return f"{event.action} {more}" if more else event.action

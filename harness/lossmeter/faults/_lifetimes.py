"""What faults that end the target have in common: two process lifetimes, said apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lossmeter.errors import EvidenceError
from lossmeter.faults._fault import now
from lossmeter.model import Evidence
from lossmeter.world.site import (
    Event,
    Exit,
    Grouped,
    Incarnation,
    Orchestrated,
    Process,
    ProcessTree,
    Recorded,
    Sample,
    Site,
    Startable,
)
from lossmeter.world.waiting import wait_for

SEEN_AGAIN_WITHIN_S = 10.0
# What notices the death of its parent by itself ends within this.
OUTLIVED_WITHIN_S = 1.0
ANSWERS_WITHIN_S = 0.5
ORPHANS_NAMED = 5
RECORDED_WITHIN_S = 2.0
ENGINE = "engine-events"
ORCHESTRATOR = "orchestrator"
TREE = "process-tree"


@dataclass(frozen=True, slots=True)
class Before:
    """A process that a fault is about to end, and the last answer of its target by then."""

    process: Incarnation
    last: Sample | None
    at_ns: int

    @classmethod
    def look(cls, site: Startable, samples: Sequence[Sample]) -> Before:
        """Look at the present process; of one that nobody probes there is no answer."""
        last = last_answer(samples) if watched(site) else None
        return cls(site.incarnation(), last, time.time_ns())


def last_answer(samples: Sequence[Sample]) -> Sample | None:
    """Return the last look at which the target answered; None when it never did."""
    return next((sample for sample in reversed(samples) if sample.ok), None)


def ended(before: Before, end: Exit, claim: str, holds: bool) -> Evidence:
    """Return how the process ended, as reported by who waited for it."""
    return Evidence(
        source=end.source,
        claim=claim,
        value=f"pid {before.process.pid}, exit code {end.code}",
        holds=holds,
        at_ns=end.at_ns,
    )


def watched(site: object) -> bool:
    """Return whether the health probe looks at what is struck, and at nothing else."""
    return not isinstance(site, Grouped) or site.watched


def outlived(site: Site, main_pid: int) -> list[Evidence]:
    """Return what of the target outlived its main process; nothing where nothing did.

    Such processes may go on working, or keep the port from the next main process: what the
    run then shows is not what a crash of the whole target does.
    """
    left = orphans(site, main_pid)
    claim = "nothing of the target outlived its main process"
    return [now(TREE, claim, at_work(site, left), False)] if left else []


def orphans(site: Site, main_pid: int) -> list[Process]:
    """Return what runs without the main process, and did not notice its end in time."""
    if not isinstance(site, ProcessTree):
        return []
    left = list[Process]()

    def nothing() -> bool:
        left[:] = [each for each in site.processes() if each.pid != main_pid and not each.ended]
        return not left

    wait_for(nothing, OUTLIVED_WITHIN_S, 0.02)
    return left


def at_work(site: Site, left: Sequence[Process]) -> str:
    """Return who outlived the main process, and whether they go on working."""
    answers = watched(site) and (
        site.probe.wait_for(lambda sample: sample.ok, ANSWERS_WITHIN_S) is not None
    )
    names = ", ".join(f"process {each.pid} ({each.name})" for each in left[:ORPHANS_NAMED])
    more = f" and {len(left) - ORPHANS_NAMED} more" if len(left) > ORPHANS_NAMED else ""
    works = "they still answer" if answers else "they do not answer"
    if not watched(site):
        time.sleep(ANSWERS_WITHIN_S)
        works = f"they used {cpu_s(site) - sum(each.cpu_s for each in left):.2f} s of CPU since"
    return f"{names}{more} did, and {works}"


def cpu_s(site: object) -> float:
    """Return the seconds of CPU that what runs of the target has used."""
    return sum(each.cpu_s for each in site.processes()) if isinstance(site, ProcessTree) else 0.0


def beside(site: Site, after: Incarnation, *, holds: bool) -> list[Evidence]:
    """Return what older processes had to do with the restart; nothing where none were left."""
    if not isinstance(site, ProcessTree):
        return []
    said = [f"{line} held the port, and was removed for the restart" for line in site.removed()]
    said += [
        f"process {each.pid} ({each.name}) runs beside the new one, after {each.cpu_s:.2f} s of CPU"
        for each in site.processes()
        if each.start_ticks < after.start_ticks
    ]
    claim = "nothing older was left when it was started again"
    if holds:
        claim = "what was older when it was started again was left by this fault"
    return [now(TREE, claim, "; ".join(said), holds)] if said else []


def same_process(before: Before, target: Startable) -> Evidence:
    """Return that the process which was there before is still the one that serves."""
    old, new = before.process, target.incarnation()
    return now(
        "process-table",
        "the same process goes on",
        f"pid and start tick {new.pid}/{new.start_ticks}",
        (new.pid, new.start_ticks) == (old.pid, old.start_ticks),
    )


def seen_again(site: Site) -> Sample | None:
    """Wait until the health probe gets an answer; None when it gets none in time."""
    return site.probe.wait_for(lambda sample: sample.ok, SEEN_AGAIN_WITHIN_S)


def new_process(before: Before, after: Incarnation) -> Evidence:
    """Return what the kernel says: another process serves now."""
    old, new = before.process, after
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


def gap(site: Site, from_ns: int, again: Sample | None, *, others: bool = False) -> Evidence:
    """Return what the health probe says: for a while nobody answered; ``others`` may have."""
    until_ns = again.asked_ns if again else time.time_ns()
    window = [s for s in site.probe.samples() if from_ns <= s.answered_ns <= until_ns]
    failed = [s for s in window if not s.ok]
    claim = "the target did not answer between its end and its restart"
    if others:
        claim = "the target answers again, whoever answered between its end and its restart"
    return Evidence(
        source="health-probe",
        claim=claim,
        value=(
            f"{len(failed)} probes without an answer within {(until_ns - from_ns) / 1e9:.3f} s"
            + (f", and {len(window) - len(failed)} with one" if others else "")
        ),
        holds=(bool(failed) or others) and again is not None,
        at_ns=from_ns,
    )


def new_boot(before: Before, again: Sample | None) -> list[Evidence]:
    """Return that the boot id changed; nothing for a target that has none."""
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


def serves_again(
    site: Site, before: Before, after: Incarnation, ended_ns: int, *, others: bool = False
) -> list[Evidence]:
    """Return what proves that the target was away, and that another process serves now."""
    seen = [new_process(before, after), *beside(site, after, holds=others)]
    if not watched(site):
        return seen
    again = seen_again(site)
    return [*seen, gap(site, ended_ns, again, others=others), *new_boot(before, again)]


Holds = Callable[[Sequence[str]], bool]
"""Whether a record stands for the fault: what happened, in order, e.g. ``kill 15``, ``die 0``."""


def recorded(site: Site, since_ns: int, claim: str, holds: Holds) -> list[Evidence]:
    """Return what the engine recorded of the target; nothing where no engine runs it.

    A record with a gap speaks against the fault: what it does not show may have happened.
    """
    if not isinstance(site, Recorded):
        return []
    return [_heard(ENGINE, partial(site.events, since_ns), claim, holds)]


def accounted(site: Site, since_ns: int, claim: str, holds: Holds) -> list[Evidence]:
    """Return what an orchestrator wrote down of the target; nothing where there is none."""
    if not isinstance(site, Orchestrated):
        return []
    return [_heard(ORCHESTRATOR, partial(site.account, since_ns), claim, holds)]


def _heard(source: str, ask: Callable[[], Sequence[Event]], claim: str, holds: Holds) -> Evidence:
    """Ask until it holds, or for a while; a record comes a little after what it records."""
    events: Sequence[Event] = ()
    actions: list[str] = []

    def stands() -> bool:
        nonlocal events, actions
        events = ask()
        actions = [_action(event) for event in events]
        return holds(actions)

    try:
        held = wait_for(stands, RECORDED_WITHIN_S, 0.01)
    except EvidenceError as error:
        return now(source, claim, str(error), False)
    at_ns = events[0].at_ns if events else time.time_ns()
    return Evidence(source, claim, ", ".join(actions) or "nothing was recorded", held, at_ns)


def ended_by_itself(actions: Sequence[str]) -> bool:
    """Return whether a process ended, and nobody sent it a signal."""
    died = any(action.startswith("die ") for action in actions)
    return died and not any(action.startswith("kill") for action in actions)


def _action(event: Event) -> str:
    more = next(
        (event.attributes[k] for k in ("signal", "exitCode", "reason") if event.attributes.get(k)),
        "",
    )
    return f"{event.action} {more}" if more else event.action

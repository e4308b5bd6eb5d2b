"""A target's first ten events: what is right with its file, and what is not, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from lossmeter.experiment import Experiment, Variant, steady
from lossmeter.model import plural
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.predict.named import no_loss
from lossmeter.plan.processes import Process, Start
from lossmeter.plan.target import Target
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts
from lossmeter.record.files import read_text
from lossmeter.record.result import Result
from lossmeter.run.queue_watch import doubt_of

EVENTS = 10
SETTLE_S = 5.0
READY_S = 10.0
# So that some wait where the queue is looked at.
_AT_ONCE = steady(1000.0, EVENTS / 1000)
_LOG_LINES = 5
Started = TypeVar("Started", bound=Start)
_HASH = "payload_hash must be the first 8 bytes of the MD5 of the payload"

EXPERIMENT = Experiment(
    name="check",
    hypothesis="Each of ten events is acked, and found again once and unaltered.",
    variants=(Variant("", steady(EVENTS, 1.0)),),
    targets=(),
    predict=no_loss,
    bounds={"max_lost": 0, "max_duplicated": 0, "max_unresolved": 0},
)


class Kind(StrEnum):
    """What a finding means to who wrote the target's file."""

    RIGHT = "right"
    WRONG = "wrong"
    OPEN = "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, in one sentence."""

    kind: Kind
    text: str


def hurried(cell: Cell) -> Cell:
    """Return the cell with the target's waits cut short: a person waits for this one."""
    target = cell.target
    settle_s = min(target.persisted.settle_limit_s, SETTLE_S)
    persisted = target.persisted.model_copy(update={"settle_limit_s": settle_s})
    start = None if target.start is None else _ready_sooner(target.start)
    processes = tuple(_ready_sooner(each) for each in target.process)
    shorter: dict[str, object] = {"persisted": persisted, "start": start, "process": processes}
    if target.ingress is not None:
        within_s = min(float(target.ingress.get("ready_s", READY_S)), READY_S)
        shorter["ingress"] = {**target.ingress, "ready_s": within_s}
    load = cell.variant.load if target.queue is None else _AT_ONCE
    variant = replace(cell.variant, load=load)
    return replace(cell, target=target.model_copy(update=shorter), variant=variant)


def _ready_sooner(started: Started) -> Started:
    """Return how it is started with less time to be up; what must run for longer first, gets it."""
    health = started.health if isinstance(started, Process) else None
    must_run_s = health.runs_s or 0.0 if health is not None else 0.0
    ready_s = min(started.ready_s, max(READY_S, must_run_s + 1))
    return started.model_copy(update={"ready_s": ready_s})


def findings(target: Target, result: Result, folder: Path) -> list[Finding]:
    """Return what ten events showed of a target, the most important first."""
    facts = Facts.load(folder)
    if facts.problem is not None:
        found = [Finding(Kind.WRONG, facts.problem)]
        lines = _log_end(folder)
        # What did not come up is told with the end of its log already.
        if lines and lines[-1] not in facts.problem:
            found.append(Finding(Kind.WRONG, _said(lines)))
        return found
    queue = [*_queue(target, facts, folder), *_pending(facts)]
    return [*_answers(target, result), *_rows(result, folder), *_measured(target, facts), *queue]


def _answers(target: Target, result: Result) -> Iterator[Finding]:
    counts = result.counts
    acked = f"{counts.acked:,} of {plural(counts.sent, 'event was', 'events were')} acked"
    if counts.acked == counts.sent:
        yield Finding(Kind.RIGHT, acked)
        return
    where = "ingress"
    if target.ingress is None:
        asked = f"{target.http.method} {target.http.path(target.http.events)}"
        where = f"{asked}, acks are {', '.join(map(str, target.http.accepted))}"
    yield Finding(Kind.WRONG, f"{acked}; the others: {result.not_acks} ({where})")


_NO_ACK = "there without an ack: it was another answer, or came too late"


def _rows(result: Result, folder: Path) -> Iterator[Finding]:
    counts, rows = result.counts, Collected.load(folder).rows
    missing = counts.acked - counts.delivered
    if counts.acked and not missing:
        yield Finding(Kind.RIGHT, "each acked event was found again by its id")
    elif counts.acked and len(rows) and not counts.delivered:
        first = rows[0]
        yield Finding(
            Kind.WRONG,
            f"{plural(len(rows), 'row was', 'rows were')} read, and none bears an id that was "
            f"sent; the first says producer {first['producer']}, sequence {first['sequence']}: "
            "both must go from the event through the dispatcher into the store, unaltered",
        )
    elif missing:
        lines = _log_end(folder)
        kept = counts.pending + counts.dead_lettered
        held = f", {kept} of them pending or dead-lettered," if kept else ""
        yield Finding(
            Kind.WRONG,
            f"not found in the store: {plural(missing, 'acked event')}{held} within {SETTLE_S:g} s "
            f"after the last answer{'; ' + _said(lines) if lines else ''}",
        )
    for number, was, were, what in (
        (counts.duplicated, "was", "were", "found more than once"),
        (counts.corrupted, "was", "were", f"found altered: {_HASH}"),
        (counts.resurrected, "was", "were", "refused, and there all the same: it is no refusal"),
        (counts.recovered, "is", "are", _NO_ACK),
    ):
        if number:
            yield Finding(Kind.WRONG, f"{plural(number, f'event {was}', f'events {were}')} {what}")
    if counts.unexpected and counts.delivered:
        yield Finding(
            Kind.WRONG,
            f"{plural(counts.unexpected, 'row bears', 'rows bear')} an id that was not sent: the "
            "store is to be empty when a run begins, and nobody else writes into it",
        )


def _measured(target: Target, facts: Facts) -> Iterator[Finding]:
    for there, column, what in (
        (facts.hashes_measured, "payload_hash", "whether events were altered"),
        (facts.positions_measured, "position", "whether events changed their order"),
        (facts.times_measured, "persisted_at", "recovery, and what comes out a second"),
    ):
        if not there:
            yield Finding(Kind.OPEN, f"{what}: the store gives no {column}")
    if not target.reports_queue:
        yield Finding(
            Kind.OPEN,
            "the length of the queue: give http.state or [queue]; without it a fault comes at a "
            "time, not at so many queued events",
        )


def _queue(target: Target, facts: Facts, folder: Path) -> Iterator[Finding]:
    """Yield what is to be said of a queue that is read from outside, and held nothing."""
    if facts.queue_most == 0:
        doubt = doubt_of(folder, facts, target.behaviour.workers)
        always = (
            "whether [queue] names the right one: it was empty at each look, as one that does not "
            "exist would be; it is known once events wait in it"
        )
        yield Finding(Kind.OPEN, doubt or always)


def _pending(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said of a broker that is asked which events it holds, and named none."""
    if facts.pending_named is not False:
        return
    waited = "although some waited" if facts.queue_most else "as if none had waited"
    always = (
        f"[queue.pending] found no event, {waited}; it is known once one was found there by its id"
    )
    yield Finding(Kind.OPEN, f"what the broker still holds: {facts.pending_doubt or always}")


def _log_end(folder: Path) -> list[str]:
    """Return the last lines of the target's log; none where it has none."""
    try:
        lines = read_text(folder / "logs" / "target.log").splitlines()
    except (OSError, ValueError):
        return []
    return [line.strip() for line in lines[-_LOG_LINES:] if line.strip()]


def _said(lines: list[str]) -> str:
    return f"its log ends: {' / '.join(lines)}"

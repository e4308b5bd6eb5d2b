"""Why a run says nothing about its target, or its instrument cannot be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossmeter.judge.account import Account
from lossmeter.judge.ledger.selfproof import Check
from lossmeter.judge.ledger.stats import LoadStats
from lossmeter.judge.ledger.times import Times
from lossmeter.model import Evidence, plural
from lossmeter.record.clock import JUMP_S
from lossmeter.record.facts import NOT_HEALED, Facts, FaultRecord
from lossmeter.record.journals import Heads

INDEPENDENT_SOURCES = 2

# Beyond these the harness itself had too little CPU: the load was not the one that was
# asked for, and the moment of a fault was not the one that was seen.
LAG_P99_MAX_MS = 500.0
PROBE_GAP_MAX_S = 0.5


def errors(
    facts: Facts,
    account: Account,
    checks: Sequence[Check],
    stages: Mapping[str, int] | None,
    overflow: int,
) -> list[str]:
    """Return why the instrument failed."""
    found = [facts.problem, *_unhealed(facts)] if facts.problem else []
    if not account.collected and not found:
        found.append("what was persisted was never collected")
    found += [f"the ledger did not prove itself: {c}" for c in checks if not c.ok]
    lost = account.ledger.counts.lost
    if stages is not None and sum(stages.values()) != lost:
        full = f"; {plural(overflow, 'mark')} found no room" if overflow else ""
        found.append(
            f"the stages explain {sum(stages.values()):,} of {plural(lost, 'lost event')}{full}: "
            "the others left no mark"
        )
    predicted = facts.predicted
    if not found and facts.exact and predicted is not None and predicted.lost != lost:
        found.append(
            f"{plural(lost, 'event was', 'events were')} lost where exactly "
            f"{plural(predicted.lost or 0, 'was', 'were')} made to be: "
            "the instrument cannot be trusted on this target"
        )
    return found


def _unhealed(facts: Facts) -> list[str]:
    """Return which faults could not be healed, beside the problem that ended the run."""
    return [
        f"fault {record.fault} was {record.problem}"
        for record in facts.faults
        if (record.problem or "").startswith(NOT_HEALED)
        and record.problem != f"{NOT_HEALED}{facts.problem}"
    ]


def gaps(heads: Heads) -> list[str]:
    """Return why the ledger itself is not whole."""
    return [] if heads.complete else [f"the ledger is incomplete: {heads.why_incomplete}"]


def doubts(facts: Facts, account: Account, load: LoadStats | None) -> list[str]:
    """Return why a run whose ledger is whole says nothing about its target."""
    found, heads = list(facts.doubts), account.heads
    if heads.complete and heads.events != facts.events_planned:
        found.append(f"{heads.events:,} of {facts.events_planned:,} planned events were sent")
    if facts.load_exit_code not in {0, None}:
        found.append(f"the load ended with exit code {facts.load_exit_code}")
    found += _clock(facts, heads) + starved(facts, load)
    if facts.pending_doubt and (lost := account.ledger.counts.lost):
        called = plural(lost, "event that is called lost", "events that are called lost")
        found.append(f"{called} may wait in the broker: {facts.pending_doubt}")
    if not facts.settled:
        found.append(f"reads never settled: {facts.settled_how}")
    for record in facts.faults:
        found += fault_doubts(record, account.times)
    return found


def _clock(facts: Facts, heads: Heads) -> list[str]:
    jump_s = max(facts.clock_jump_s or 0.0, heads.clock_jump_ns / 1e9)
    if jump_s <= JUMP_S:
        return []
    return [f"the clock of this machine jumped by {jump_s:.3f} s, so no time can be trusted"]


def starved(facts: Facts, load: LoadStats | None) -> list[str]:
    """Return where the harness had too little CPU to do what it says it did."""
    found = []
    if load is not None and load.lag_p99_ms > LAG_P99_MAX_MS:
        found.append(
            f"the load lagged behind its schedule by {load.lag_p99_ms:.0f} ms (p99), more "
            f"than {LAG_P99_MAX_MS:.0f} ms: the harness was starved of CPU, or max_in_flight "
            "is too small for this target"
        )
    if (facts.probe_gap_s or 0.0) > PROBE_GAP_MAX_S:
        found.append(
            f"the health probe was kept from looking for {facts.probe_gap_s:.2f} s, more than "
            f"{PROBE_GAP_MAX_S:g} s: the harness was starved of CPU"
        )
    return found


def fault_doubts(record: FaultRecord, times: Times) -> list[str]:
    """Return what is missing to show that a fault took place, under load, and was healed."""
    if record.injected_ns is None:
        return [f"fault {record.fault} was never injected: {record.problem or 'no reason given'}"]
    against = [evidence for evidence in record.evidence if not evidence.holds]
    found = [f"evidence against fault {record.fault}: {_shown(e)}" for e in against]
    sources = {evidence.source for evidence in record.evidence if evidence.holds}
    if len(sources) < INDEPENDENT_SOURCES:
        found.append(
            f"fault {record.fault} is shown by {plural(len(sources), 'independent source')}, "
            f"{INDEPENDENT_SOURCES} are needed"
        )
    if record.healed_ns is None:
        found.append(f"fault {record.fault} was never healed: {record.problem or 'no reason'}")
    elif not times.sent_ns.between(record.injected_ns, record.healed_ns):
        found.append(f"no load while fault {record.fault} held")
    return found


def _shown(evidence: Evidence) -> str:
    return f"{evidence.source} does not show that {evidence.claim} ({evidence.value})"

"""Judges one run from what it saved on disk, and from nothing else."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.account import Account, open_account
from harness.budget import Findings, judge
from harness.clock import JUMP_S
from harness.errors import HarnessError
from harness.facts import Facts, FaultRecord
from harness.ledger import stats
from harness.ledger.measures import MEASURES, Shown
from harness.ledger.records import Ledger, Records
from harness.ledger.selfproof import Check, prove
from harness.ledger.stages import When, by_stage, by_time, in_words, lost_events
from harness.ledger.times import Times
from harness.load.reading import Heads
from harness.marks import LOST, load_marks
from harness.model import Counts, Evidence, Expected, Predicted
from harness.result import Comparison, LoadFigures, LostWhere, Result

INDEPENDENT_SOURCES = 2

# Beyond these the harness itself had too little CPU: the load was not the one that was
# asked for, and the moment of a fault was not the one that was seen.
LAG_P99_MAX_MS = 500.0
PROBE_GAP_MAX_S = 0.5


@dataclass(frozen=True, slots=True)
class _Read:
    """What could be read of a run; None where it could not.

    Attributes:
        of: every event in its class.
        figures: of the load.
        checks: how the ledger proved itself.
        lost: each lost event with what it died of, dtype LOST; None without rows.
        overflow: marks of stages that found no room.
    """

    of: Account
    figures: stats.LoadFigures | None
    checks: list[Check]
    lost: Records | None = None
    overflow: int = 0


def judge_run(folder: Path, timings_s: MutableMapping[str, float] | None = None) -> Result:
    """Return the judgement of a run; damage to its files makes it an error, not a guess.

    What each lost event died of is left in ``stages.npy``, where the target marks stages.

    Args:
        folder: of the run.
        timings_s: gets the seconds that judging and the self-proof took.

    Raises:
        UsageError: the folder is not a run's.
    """
    return judge_facts(folder, Facts.load(folder), timings_s)


def measured(folder: Path, name: str) -> float | None:
    """Return one figure of a run, read from its folder; None where it does not show it.

    Args:
        folder: of the run.
        name: one of ``MEASURES``.

    Raises:
        UsageError: the folder is not a run's.
        HarnessError: what it saved is damaged.
    """
    facts = Facts.load(folder)
    with open_account(folder, facts, collected=facts.collected) as of:
        if not of.collected or name in of.ledger.not_measured:
            return None
        return MEASURES[name].read(Shown(of.times, of.ledger.counts, _struck(facts)))


def judge_facts(
    folder: Path, facts: Facts, timings_s: MutableMapping[str, float] | None = None
) -> Result:
    """Return the judgement of a run whose facts are known, e.g. under another budget."""
    spent: MutableMapping[str, float] = {} if timings_s is None else timings_s
    with ExitStack() as stack:
        try:
            read = _read(stack, folder, facts, spent)
        except (HarnessError, OSError, ValueError) as error:
            return _unreadable(facts, f"what the run saved cannot be judged: {_why(error)}")
        if facts.stages_marked and read.lost is not None:
            np.save(folder / LOST, in_words(read.lost), allow_pickle=False)
        if timings_s is not None:
            facts.timings_s = dict(timings_s)
        return _result(facts, read)


def _read(stack: ExitStack, folder: Path, facts: Facts, spent: MutableMapping[str, float]) -> _Read:
    begin = time.monotonic()
    of = stack.enter_context(open_account(folder, facts, collected=facts.collected))
    figures = stats.load_figures(of.times)
    if not of.collected:
        return _Read(of, figures, [])
    marks = load_marks(folder, of.ledger.lost)
    lost = lost_events(of.told_of_lost, of.ledger, marks, _struck(facts))
    proving = time.monotonic()
    checks = prove(*of.sample.all(), facts.seed, as_of=of.judged_at_once)
    now = time.monotonic()
    spent["judge"], spent["self_proof"] = round(now - begin, 3), round(now - proving, 3)
    return _Read(of, figures, checks, lost, marks.overflow)


def _struck(facts: Facts) -> tuple[int, int | None] | None:
    """Return when the first fault struck and when it was healed."""
    for record in facts.faults:
        at_ns = record.struck_ns or record.injected_ns
        if at_ns is not None:
            return at_ns, record.healed_ns
    return None


def _result(facts: Facts, read: _Read) -> Result:
    ledger, collected = read.of.ledger, read.of.collected
    recovery_s = _recovery_s(facts, read.of)
    findings = Findings(
        errors=_errors(facts, read),
        doubts=_doubts(facts, read),
        not_measured=ledger.not_measured,
        recovery_s=recovery_s,
    )
    judgement = judge(ledger.counts, facts.budget, findings)
    load = LoadFigures(
        rate_asked_per_s=facts.rate_per_s,
        persisted_per_s=_persisted_per_s(facts, read.of),
        **(asdict(read.figures) if read.figures else {}),
    )
    comparisons = _comparisons(facts, read)
    difference, holds = _prediction(facts.predicted, ledger) if collected else (None, None)
    marks = [mark for mark in (holds, *(c.holds for c in comparisons)) if mark is not None]
    return _base(facts).model_copy(
        update={
            "verdict": judgement.verdict,
            "reason": judgement.reason,
            "breaches": list(judgement.breaches),
            "counts": ledger.counts,
            "not_measured": sorted(ledger.not_measured),
            "worst_case_ratio": _worst_case(ledger.counts) if collected else None,
            "lost_where": LostWhere(
                prefix=ledger.lost_prefix, middle=ledger.lost_middle, suffix=ledger.lost_suffix
            ),
            "stages": _stages(facts, read),
            "volatile_ms": _volatile_ms(facts, read.lost),
            "lost_when": {} if read.lost is None else by_time(read.lost),
            "extra_rows": ledger.extra_rows,
            "difference": difference,
            "prediction_holds": all(marks) if marks else None,
            "comparisons": comparisons,
            "self_proof": [str(check) for check in read.checks],
            "recovery_s": recovery_s,
            "load": load,
        }
    )


def _base(facts: Facts) -> Result:
    return Result(
        run_id=facts.run_id,
        experiment=facts.experiment,
        hypothesis=facts.hypothesis,
        target=facts.target,
        ack_level=facts.ack_level,
        runtime=facts.runtime,
        seed=facts.seed,
        root_seed=facts.root_seed,
        repeat=facts.repeat,
        verdict="error",
        reason="not judged",
        counts=Counts(),
        predicted=facts.predicted,
        evidence=[evidence for record in facts.faults for evidence in record.evidence],
        budget=facts.budget,
        timings_s=facts.timings_s,
    )


def _unreadable(facts: Facts, reason: str) -> Result:
    problem = facts.problem or reason
    told = {"reason": problem, "breaches": [problem], "not_measured": sorted(Counts().as_dict())}
    return _base(facts).model_copy(update=told)


def _why(error: Exception) -> str:
    """Return what is wrong with a file, with its name."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _stages(facts: Facts, read: _Read) -> dict[str, int] | None:
    """Return what the lost events died of; None where the target does not tell."""
    return by_stage(read.lost) if facts.stages_marked and read.lost is not None else None


def _volatile_ms(facts: Facts, lost: Records | None) -> float | None:
    """Return how long before the first fault the oldest lost event had been acked."""
    fault = _struck(facts)
    if fault is None or lost is None:
        return None
    before = lost["acked_ns"][lost["when"] == When.BEFORE]
    return round(float(fault[0] - before.min()) / 1e6, 1) if len(before) else None


# Why the instrument failed.


def _errors(facts: Facts, read: _Read) -> list[str]:
    errors = [facts.problem] if facts.problem else []
    if not read.of.collected and not errors:
        errors.append("what was persisted was never collected")
    errors += [f"the ledger did not prove itself: {c}" for c in read.checks if not c.ok]
    predicted = facts.predicted
    lost = read.of.ledger.counts.lost
    stages = _stages(facts, read)
    if stages is not None and sum(stages.values()) != lost:
        full = f"; {read.overflow} marks found no room" if read.overflow else ""
        errors.append(
            f"the stages explain {sum(stages.values())} of {lost} lost events{full}: "
            "the others left no mark"
        )
    if not errors and facts.exact and predicted is not None and predicted.lost != lost:
        errors.append(
            f"{lost} events were lost where exactly {predicted.lost} were made to be: "
            "the instrument cannot be trusted on this target"
        )
    return errors


# Why the run says nothing about the target.


def _doubts(facts: Facts, read: _Read) -> list[str]:
    doubts, heads = [], read.of.heads
    if not heads.complete:
        doubts.append(f"the ledger is incomplete: {heads.why_incomplete}")
    elif heads.events != facts.events_planned:
        doubts.append(f"{heads.events} of {facts.events_planned} planned events were sent")
    if facts.load_exit_code not in {0, None}:
        doubts.append(f"the load ended with exit code {facts.load_exit_code}")
    doubts += _clock_doubts(facts, heads) + _starved(facts, read.figures)
    if not facts.settled:
        doubts.append(f"reads never settled: {facts.settled_how}")
    for record in facts.faults:
        doubts += _fault_doubts(record, read.of.times)
    return doubts


def _clock_doubts(facts: Facts, heads: Heads) -> list[str]:
    jump_s = max(facts.clock_jump_s or 0.0, heads.clock_jump_ns / 1e9)
    if jump_s <= JUMP_S:
        return []
    return [f"the clock of this machine jumped by {jump_s:.3f} s, so no time can be trusted"]


def _starved(facts: Facts, figures: stats.LoadFigures | None) -> list[str]:
    """Return where the harness had too little CPU to do what it says it did."""
    doubts = []
    if figures is not None and figures.lag_p99_ms > LAG_P99_MAX_MS:
        doubts.append(
            f"the load lagged behind its schedule by {figures.lag_p99_ms:.0f} ms (p99), more "
            f"than {LAG_P99_MAX_MS:.0f} ms: the harness was starved of CPU, or max_in_flight "
            "is too small for this target"
        )
    if (facts.probe_gap_s or 0.0) > PROBE_GAP_MAX_S:
        doubts.append(
            f"the health probe was kept from looking for {facts.probe_gap_s:.2f} s, more than "
            f"{PROBE_GAP_MAX_S:g} s: the harness was starved of CPU"
        )
    return doubts


def _fault_doubts(record: FaultRecord, times: Times) -> list[str]:
    if record.injected_ns is None:
        return [f"fault {record.fault} was never injected: {record.problem or 'no reason given'}"]
    doubts = []
    against = [evidence for evidence in record.evidence if not evidence.holds]
    doubts += [f"evidence against fault {record.fault}: {_told(e)}" for e in against]
    sources = {evidence.source for evidence in record.evidence if evidence.holds}
    if len(sources) < INDEPENDENT_SOURCES:
        doubts.append(
            f"fault {record.fault} is shown by {len(sources)} independent sources, "
            f"{INDEPENDENT_SOURCES} are needed"
        )
    if record.healed_ns is None:
        doubts.append(f"fault {record.fault} was never healed: {record.problem or 'no reason'}")
    elif not times.sent_ns.between(record.injected_ns, record.healed_ns):
        doubts.append(f"no load while fault {record.fault} held")
    return doubts


def _told(evidence: Evidence) -> str:
    return f"{evidence.source} does not show that {evidence.claim} ({evidence.value})"


# Figures.


def _recovery_s(facts: Facts, of: Account) -> float | None:
    """Return the seconds from the first fault until events are acked and persisted again."""
    injected = [r for r in facts.faults if r.injected_ns and r.condition]
    acked, last_sent_ns = of.times.acked_ns, of.times.sent_ns.last
    if not injected or not of.collected or last_sent_ns is None:
        return None
    begin_ns, end_ns = injected[0].injected_ns or 0, injected[0].healed_ns
    if end_ns is None:
        return None
    again_ns = [stats.back_ns(acked, begin_ns, end_ns, last_sent_ns)]
    if facts.times_measured and acked.last is not None:
        again_ns.append(stats.back_ns(of.times.persisted_ns, begin_ns, end_ns, acked.last))
    if any(instant is None for instant in again_ns):
        return None
    return round(max(i for i in again_ns if i is not None) / 1e9 - begin_ns / 1e9, 3)


def _persisted_per_s(facts: Facts, of: Account) -> float | None:
    """Return the rows persisted per second; None where the rows bear no times."""
    if not of.collected or not facts.times_measured:
        return None
    per_s = MEASURES["throughput_per_s"].read(Shown(of.times, of.ledger.counts))
    return None if per_s is None else round(per_s, 2)


def _worst_case(counts: Counts) -> float | None:
    """Return (lost + unresolved) / sent: the loss if every unresolved event was accepted."""
    return round((counts.lost + counts.unresolved) / counts.sent, 6) if counts.sent else None


def _prediction(predicted: Predicted | None, ledger: Ledger) -> tuple[int | None, bool | None]:
    """Return measured minus predicted loss, and whether the prediction holds."""
    if predicted is None or predicted.lost is None:
        return None, None
    difference = ledger.counts.lost - predicted.lost
    holds = abs(difference) <= predicted.lost_tolerance
    if predicted.duplicated_max is not None:
        holds &= ledger.counts.duplicated <= predicted.duplicated_max
    return difference, holds


def _comparisons(facts: Facts, read: _Read) -> list[Comparison]:
    """Return each further figure of the prediction beside the same measured."""
    if facts.predicted is None or not read.of.collected:
        return []
    shown = Shown(read.of.times, read.of.ledger.counts, _struck(facts))
    return [
        _comparison(expected, shown, read.of.ledger.not_measured)
        for expected in facts.predicted.figures
    ]


def _comparison(expected: Expected, shown: Shown, not_measured: frozenset[str]) -> Comparison:
    measure = MEASURES[expected.name]
    measured = None if expected.name in not_measured else measure.read(shown)
    difference = None if measured is None else measured - expected.value
    return Comparison(
        name=expected.name,
        unit=measure.unit,
        predicted=expected.value,
        measured=measured,
        difference=difference,
        tolerance=expected.tolerance,
        reason=expected.reason,
        holds=None if difference is None else abs(difference) <= expected.tolerance,
    )

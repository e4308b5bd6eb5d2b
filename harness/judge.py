"""Judges one run from what it saved on disk, and from nothing else."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.budget import Findings, judge
from harness.clock import JUMP_S
from harness.errors import HarnessError
from harness.facts import Facts, FaultRecord
from harness.ledger import stats
from harness.ledger.collected import Collected
from harness.ledger.measures import MEASURES, Shown
from harness.ledger.reconcile import reconcile
from harness.ledger.records import Held, Ledger, Records, Told
from harness.ledger.selfproof import Check, prove
from harness.ledger.stages import When, by_stage, by_time, in_words, lost_events
from harness.load.reading import Journals, read_journals
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
    """What could be read of a run; None where it could not."""

    journals: Journals
    held: Held | None
    ledger: Ledger
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
    read = _read(folder, facts, {})
    if read.held is None or name in read.ledger.not_measured:
        return None
    told = Told(read.journals.intents, read.journals.outcomes)
    return MEASURES[name].read(Shown(told, read.held, read.ledger.counts, _struck(facts)))


def judge_facts(
    folder: Path, facts: Facts, timings_s: MutableMapping[str, float] | None = None
) -> Result:
    """Return the judgement of a run whose facts are known, e.g. under another budget."""
    spent: MutableMapping[str, float] = {} if timings_s is None else timings_s
    try:
        read = _read(folder, facts, spent)
    except (HarnessError, OSError, ValueError) as error:
        return _unreadable(facts, f"what the run saved cannot be judged: {_why(error)}")
    if facts.stages_marked and read.lost is not None:
        np.save(folder / LOST, in_words(read.lost), allow_pickle=False)
    if timings_s is not None:
        facts.timings_s = dict(timings_s)
    return _result(facts, read)


def _read(folder: Path, facts: Facts, spent: MutableMapping[str, float]) -> _Read:
    begin = time.monotonic()
    journals = read_journals(folder)
    told = Told(journals.intents, journals.outcomes)
    if not facts.collected:
        # Without rows every acked event would look lost; so none is judged at all.
        counts = _told_only(told)
        return _Read(journals, None, counts, [])
    collected = Collected.load(folder)
    held = Held(
        collected.rows,
        collected.dead_lettered,
        collected.pending,
        facts.hashes_measured,
        facts.positions_measured,
    )
    ledger = reconcile(told, held)
    marks = load_marks(folder, ledger.lost)
    lost = lost_events(told, ledger, marks, _struck(facts))
    proving = time.monotonic()
    checks = prove(told, held, facts.seed)
    now = time.monotonic()
    spent["judge"], spent["self_proof"] = round(now - begin, 3), round(now - proving, 3)
    return _Read(journals, held, ledger, checks, lost, marks.overflow)


def _struck(facts: Facts) -> tuple[int, int | None] | None:
    """Return when the first fault struck and when it was healed."""
    for record in facts.faults:
        at_ns = record.struck_ns or record.injected_ns
        if at_ns is not None:
            return at_ns, record.healed_ns
    return None


def _told_only(told: Told) -> Ledger:
    """Return a ledger of what producers were told, with every class of rows void."""
    nothing = Collected.empty()
    ledger = reconcile(told, Held(nothing.rows, nothing.dead_lettered, nothing.pending))
    seen = {name: getattr(ledger.counts, name) for name in ("sent", "acked", "refused", "unknown")}
    void = frozenset(Counts().as_dict()) - frozenset(seen)
    return ledger.with_counts(Counts(**seen), void)


def _result(facts: Facts, read: _Read) -> Result:
    ledger, journals = read.ledger, read.journals
    told = Told(journals.intents, journals.outcomes)
    recovery_s = _recovery_s(facts, told, read.held)
    findings = Findings(
        errors=_errors(facts, read),
        doubts=_doubts(facts, journals, told),
        not_measured=ledger.not_measured,
        recovery_s=recovery_s,
    )
    judgement = judge(ledger.counts, facts.budget, findings)
    figures = stats.load_figures(told)
    load = LoadFigures(
        rate_asked_per_s=facts.rate_per_s,
        persisted_per_s=_persisted_per_s(facts, told, read),
        **(asdict(figures) if figures else {}),
    )
    comparisons = _comparisons(facts, read)
    difference, holds = _prediction(facts.predicted, ledger, read.held)
    marks = [mark for mark in (holds, *(c.holds for c in comparisons)) if mark is not None]
    return _base(facts).model_copy(
        update={
            "verdict": judgement.verdict,
            "reason": judgement.reason,
            "breaches": list(judgement.breaches),
            "counts": ledger.counts,
            "not_measured": sorted(ledger.not_measured),
            "worst_case_ratio": _worst_case(ledger.counts) if read.held else None,
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
    if read.held is None and not errors:
        errors.append("what was persisted was never collected")
    errors += [f"the ledger did not prove itself: {c}" for c in read.checks if not c.ok]
    predicted = facts.predicted
    lost = read.ledger.counts.lost
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


def _doubts(facts: Facts, journals: Journals, told: Told) -> list[str]:
    doubts = []
    if not journals.complete:
        doubts.append(f"the ledger is incomplete: {journals.why_incomplete}")
    elif len(journals.intents) != facts.events_planned:
        doubts.append(f"{len(journals.intents)} of {facts.events_planned} planned events were sent")
    if facts.load_exit_code not in {0, None}:
        doubts.append(f"the load ended with exit code {facts.load_exit_code}")
    doubts += _clock_doubts(facts, journals) + _starved(facts, told)
    if not facts.settled:
        doubts.append(f"reads never settled: {facts.settled_how}")
    for record in facts.faults:
        doubts += _fault_doubts(record, told)
    return doubts


def _clock_doubts(facts: Facts, journals: Journals) -> list[str]:
    jump_s = max(facts.clock_jump_s or 0.0, journals.clock_jump_ns / 1e9)
    if jump_s <= JUMP_S:
        return []
    return [f"the clock of this machine jumped by {jump_s:.3f} s, so no time can be trusted"]


def _starved(facts: Facts, told: Told) -> list[str]:
    """Return where the harness had too little CPU to do what it says it did."""
    doubts = []
    figures = stats.load_figures(told)
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


def _fault_doubts(record: FaultRecord, told: Told) -> list[str]:
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
    elif stats.sent_between(told, record.injected_ns, record.healed_ns) == 0:
        doubts.append(f"no load while fault {record.fault} held")
    return doubts


def _told(evidence: Evidence) -> str:
    return f"{evidence.source} does not show that {evidence.claim} ({evidence.value})"


# Figures.


def _recovery_s(facts: Facts, told: Told, held: Held | None) -> float | None:
    """Return the seconds from the first fault until events are acked and persisted again."""
    injected = [r for r in facts.faults if r.injected_ns and r.condition]
    if not injected or held is None or not len(told.intents):
        return None
    begin_ns, end_ns = injected[0].injected_ns or 0, injected[0].healed_ns
    if end_ns is None:
        return None
    acked_ns = stats.acked_ns(told)
    last_sent_ns = int(told.intents["sent_ns"].max())
    again_ns = [stats.back_ns(acked_ns, begin_ns, end_ns, last_sent_ns)]
    if facts.times_measured and len(acked_ns):
        persisted_ns = held.rows["persisted_ns"]
        again_ns.append(stats.back_ns(persisted_ns, begin_ns, end_ns, int(acked_ns.max())))
    if any(instant is None for instant in again_ns):
        return None
    return round(max(i for i in again_ns if i is not None) / 1e9 - begin_ns / 1e9, 3)


def _persisted_per_s(facts: Facts, told: Told, read: _Read) -> float | None:
    """Return the rows persisted per second; None where the rows bear no times."""
    if read.held is None or not facts.times_measured:
        return None
    per_s = MEASURES["throughput_per_s"].read(Shown(told, read.held, read.ledger.counts))
    return None if per_s is None else round(per_s, 2)


def _worst_case(counts: Counts) -> float | None:
    """Return (lost + unresolved) / sent: the loss if every unresolved event was accepted."""
    return round((counts.lost + counts.unresolved) / counts.sent, 6) if counts.sent else None


def _prediction(
    predicted: Predicted | None, ledger: Ledger, held: Held | None
) -> tuple[int | None, bool | None]:
    """Return measured minus predicted loss, and whether the prediction holds."""
    if predicted is None or predicted.lost is None or held is None:
        return None, None
    difference = ledger.counts.lost - predicted.lost
    holds = abs(difference) <= predicted.lost_tolerance
    if predicted.duplicated_max is not None:
        holds &= ledger.counts.duplicated <= predicted.duplicated_max
    return difference, holds


def _comparisons(facts: Facts, read: _Read) -> list[Comparison]:
    """Return each further figure of the prediction beside the same measured."""
    if facts.predicted is None or read.held is None:
        return []
    told = Told(read.journals.intents, read.journals.outcomes)
    shown = Shown(told, read.held, read.ledger.counts, _struck(facts))
    return [
        _comparison(expected, shown, read.ledger.not_measured)
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

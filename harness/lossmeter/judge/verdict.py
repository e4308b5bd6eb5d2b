"""Judges one run from what it saved on disk, and from nothing else; judging only reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lossmeter.errors import AlteredError, HarnessError
from lossmeter.judge import doubts, figures
from lossmeter.judge.account import Account, open_account
from lossmeter.judge.bounds import Findings, judge
from lossmeter.judge.ledger import stats
from lossmeter.judge.ledger.measures import MEASURES, Shown
from lossmeter.judge.ledger.selfproof import Check, prove
from lossmeter.judge.ledger.stages import by_stage, by_time, lost_events
from lossmeter.model import Counts, Evidence
from lossmeter.record.answers import described
from lossmeter.record.arrays import Records
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.record.manifest import WITHOUT, Seal, genuine, verify
from lossmeter.record.marks import load_marks
from lossmeter.record.result import FaultEvidence, LoadFigures, LostWhere, Result

Timings = MutableMapping[str, float]


def judge_run(folder: Path, timings_s: Timings | None = None) -> Result:
    """Return the judgement of a run; damage to its files makes it an error, not a guess.

    Raises:
        UsageError: the folder is not a run's.
    """
    return judge_facts(folder, Facts.load(folder), timings_s)


def judge_facts(folder: Path, facts: Facts, timings_s: Timings | None = None) -> Result:
    """Return the judgement of a run whose facts are known, e.g. under another budget."""
    with judging(folder, facts, timings_s) as judged:
        return judged.result


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement, and what it was made of, so that a page need not read all of it again.

    Attributes:
        account: good as long as the judging is open; None where there is none.
        lost: each lost event with what it died of, dtype LOST; None without rows.
        seal: by which the record was genuine; None where it was not.
    """

    result: Result
    account: Account | None = None
    lost: Records | None = None
    seal: Seal | None = None


@contextmanager
def judging(
    folder: Path, facts: Facts, timings_s: Timings | None = None, seal: Seal | None = None
) -> Iterator[Judged]:
    """Judge a run whose facts are known; its account is open until the end of the ``with``.

    Nothing is written. A run that differs from the digests taken when it was recorded is an
    error, whatever its files now hold; one without digests is inconclusive.

    1. verify the digests
    2. account for every event, and let the ledger prove itself on planted rows
    3. conclude: errors, gaps, doubts and figures, then the bounds

    Args:
        folder: of the run.
        facts: of the run.
        timings_s: gets how long it took.
        seal: by which the digests were just taken; they are compared where it holds no more.
    """
    try:
        seal = genuine(folder, facts.run_id, sealed=facts.sealed, seal=seal)
    except (AlteredError, OSError) as error:
        yield Judged(unjudged(facts.model_copy(update={"problem": None}), _why(error)))
        return
    with ExitStack() as stack:
        if not seal.digest:
            facts = facts.model_copy(update={"doubts": [WITHOUT, *facts.doubts]})
        judged = _judged(stack, folder, facts, timings_s)
        update = {"manifest_sha256": seal.digest, "notes": _again(facts)}
        result = judged.result.model_copy(update=update)
        yield replace(judged, result=result, seal=seal)


def _judged(stack: ExitStack, folder: Path, facts: Facts, timings_s: Timings | None) -> Judged:
    spent: Timings = {} if timings_s is None else timings_s
    try:
        begin = time.monotonic()
        account = stack.enter_context(open_account(folder, facts, collected=facts.collected))
        proved = _prove(folder, facts, account, begin, spent)
        if timings_s is not None:
            facts.timings_s = dict(timings_s)
        return Judged(_conclude(facts, account, proved), account, proved.lost)
    except Exception as error:  # noqa: BLE001 - whatever damage leads to, it is no verdict
        return Judged(unjudged(facts, f"what the run saved cannot be judged: {_why(error)}"))


def fates(folder: Path, facts: Facts, account: Account) -> tuple[Records, int]:
    """Return what each lost event died of, dtype LOST, and how many marks found no room.

    Raises:
        OSError, ValueError: the marks are damaged.
    """
    marks = load_marks(folder, account.ledger.lost)
    fault = figures.first_fault(facts)
    return lost_events(account.operations_of_lost, account.ledger, marks, fault), marks.overflow


def measured(folder: Path, name: str) -> float | None:
    """Return one figure of a run, read from its folder; None where it does not show it.

    Raises:
        UsageError: the folder is not a run's.
        HarnessError: what it saved is damaged.
    """
    facts = Facts.load(folder)
    verify(folder, facts.run_id, sealed=facts.sealed)
    with open_account(folder, facts, collected=facts.collected) as account:
        if not account.collected or name in account.ledger.not_measured:
            return None
        shown = Shown(account.times, account.ledger.counts, figures.first_fault(facts))
        return MEASURES[name].read(shown)


def _again(facts: Facts) -> list[str]:
    """Return that the run stands in for one beside others that says nothing, where it does."""
    if not facts.again_for:
        return []
    return [f"made again alone, since {facts.again_for} was starved of CPU beside other runs"]


@dataclass(frozen=True, slots=True)
class _Proved:
    """What is made of the account for the judge alone.

    Attributes:
        lost: each lost event with what it died of, dtype LOST; None without rows.
        overflow: marks of stages that found no room.
    """

    lost: Records | None = None
    overflow: int = 0
    checks: tuple[Check, ...] = ()


def _prove(
    folder: Path, facts: Facts, account: Account, begin: float, timings_s: Timings
) -> _Proved:
    if not account.collected:
        return _Proved()
    lost, overflow = fates(folder, facts, account)
    proving = time.monotonic()
    checks = prove(*account.sample.all(), facts.seed)
    now = time.monotonic()
    timings_s["judge"], timings_s["self_proof"] = round(now - begin, 3), round(now - proving, 3)
    return _Proved(lost, overflow, tuple(checks))


def _conclude(facts: Facts, account: Account, proved: _Proved) -> Result:
    """Apply the bounds to what was measured, then show what it rests on."""
    ledger, lost = account.ledger, proved.lost
    load = stats.load_figures(account.times)
    stages = by_stage(lost) if facts.stages_marked and lost is not None else None
    recovery_s, no_recovery = figures.recovery_s(facts, account)
    late_by_s = round(ledger.late_by_ns / 1e9, 3) if ledger.counts.late else None
    findings = Findings(
        errors=doubts.errors(facts, account, proved.checks, stages, proved.overflow),
        gaps=doubts.gaps(account.heads),
        doubts=doubts.doubts(facts, account, load),
        not_measured=ledger.not_measured,
        recovery_s=recovery_s,
        no_recovery=no_recovery,
        predicted=facts.predicted,
        answers=described(account.answers),
        late_by_s=late_by_s,
    )
    judgement = judge(ledger.counts, facts.budget, findings)
    difference, holds = (None, None)
    if account.collected:
        difference, holds = figures.prediction(facts.predicted, ledger)
    compared = figures.comparisons(facts, account)
    hits = [hit for hit in (holds, *(each.holds for each in compared)) if hit is not None]
    shown = {
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "breaches": list(judgement.breaches),
        "counts": ledger.counts,
        "not_measured": sorted(ledger.not_measured),
        "times_problem": account.times_problem,
        "not_acks": findings.answers,
        "worst_case_ratio": figures.worst_case_ratio(ledger.counts) if account.collected else None,
        "lost_where": LostWhere(
            prefix=ledger.lost_prefix, middle=ledger.lost_middle, suffix=ledger.lost_suffix
        ),
        "stages": stages,
        "volatile_ms": figures.volatile_ms(figures.first_fault(facts), lost),
        "late_by_s": late_by_s,
        "lost_when": {} if lost is None else by_time(lost),
        "extra_rows": ledger.extra_rows,
        "starved": bool(doubts.starved(facts, load)),
        "difference": difference,
        "prediction_holds": all(hits) if hits else None,
        "comparisons": compared,
        "self_proof": [str(check) for check in proved.checks],
        "recovery_s": recovery_s,
        "load": LoadFigures(
            rate_asked_per_s=facts.rate_per_s,
            persisted_per_s=figures.persisted_per_s(account),
            cpus=facts.cpus,
            **(asdict(load) if load else {}),
        ),
    }
    return _base(facts).model_copy(update=shown)


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
        evidence=[_of(record, each) for record in facts.faults for each in record.evidence],
        budget=facts.budget,
        timings_s=facts.timings_s,
    )


def _of(record: FaultRecord, evidence: Evidence) -> FaultEvidence:
    return FaultEvidence(**asdict(evidence), fault=record.fault, struck_ns=record.hit_ns)


def unjudged(facts: Facts, reason: str) -> Result:
    """Return the result of a run that cannot be judged, an error with its reason."""
    problem = facts.problem or reason
    why = {"reason": problem, "breaches": [problem], "not_measured": sorted(Counts().as_dict())}
    return _base(facts).model_copy(update=why)


def _why(error: Exception) -> str:
    """Return what is wrong with a file, with its name."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    known = isinstance(error, (HarnessError, OSError, ValueError))
    return str(error) if known else f"{type(error).__name__}: {error}"

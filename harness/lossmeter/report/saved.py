"""A run folder read for showing: what it saved, and why a part of it cannot be shown.

Nothing here judges: the caller brings the result. The ledger is computed again only to know
which events were lost, and when it disagrees with the verdict that is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from lossmeter.errors import AlteredError, HarnessError
from lossmeter.judge.account import Account, open_account
from lossmeter.judge.ledger.classes import Ledger
from lossmeter.judge.ledger.times import Times
from lossmeter.judge.verdict import Judged, fates
from lossmeter.model import plural
from lossmeter.record.alerts import Alert, Monitoring, read_alerts, read_monitoring
from lossmeter.record.arrays import Records
from lossmeter.record.facts import Facts
from lossmeter.record.files import open_regular, read_bytes
from lossmeter.record.manifest import genuine
from lossmeter.record.result import Result
from lossmeter.report.alerts import AlertMoment, moment
from lossmeter.report.stages import Stages, stages_of

# Samples of the health probe that are read at once.
_LINES = 4096
_LOOKS = np.empty(0, [("at_ns", np.int64), ("ok", np.bool_), ("queue_length", np.float64)])

Scalar = str | int | float | bool | None


class Environment(BaseModel):
    """``environment.json``, as far as it is shown; other keys may be there.

    ``numbers`` are those by which the target behaved, by the names in target files.
    """

    model_config = ConfigDict(extra="ignore")

    machine: dict[str, Scalar] = {}
    commit: str | None = None
    packages: dict[str, Scalar] = {}
    servers: dict[str, Scalar] = {}
    settings: dict[str, Scalar] = {}
    numbers: dict[str, Scalar] = {}
    servers_served_before: int | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """What the health probe saw, one entry a look.

    Attributes:
        at_ns: wall clock of the answer, nanoseconds.
        queue_length: events; NaN where the target did not tell.
    """

    at_ns: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    queue_length: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SavedRun:
    """One run as its folder tells it; None and empty where it does not.

    Attributes:
        lost_sent_ns: when each lost event was sent, in the ledger's order.
        monitoring: what watched it; None where nothing did.
        since: what alerts are timed against.
        gaps: one sentence for each part that cannot be shown.
    """

    result: Result
    facts: Facts
    environment: Environment
    probed: Probed
    times: Times | None
    ledger: Ledger | None
    lost_sent_ns: npt.NDArray[np.int64]
    stages: Stages | None
    alerts: Sequence[Alert]
    monitoring: Monitoring | None
    since: AlertMoment | None
    gaps: Sequence[str]


@contextmanager
def open_run(folder: Path, result: Result, judged: Judged | None = None) -> Iterator[SavedRun]:
    """Read a run folder; what is yielded is good until the end of the ``with``.

    Args:
        folder: of the run.
        result: its judgement.
        judged: the same with what it was made of, where that is still open.

    Raises:
        UsageError: it is not a run's folder, or its facts are damaged.
    """
    facts = Facts.load(folder)
    gaps: list[str] = []
    with ExitStack() as stack:
        judged, of = judged or Judged(result), None
        if _genuine(folder, facts, judged, gaps):
            of = _account(stack, folder, facts, judged, gaps)
        ledger = of.ledger if of is not None and of.collected else None
        if ledger is not None and ledger.counts.lost != result.counts.lost:
            gaps.append(
                f"The data show {ledger.counts.lost:,} lost events and the saved verdict "
                f"{result.counts.lost:,}; judge the run again with `lossmeter report`."
            )
        probed = _probed(folder / "probe.jsonl", gaps)
        lost_sent_ns, stages = np.empty(0, np.int64), None
        if of is not None and of.collected:
            lost_sent_ns = of.lost_sent_ns
            stages = _stages(folder, facts, of, judged.lost, gaps)
        yield SavedRun(
            result=result,
            facts=facts,
            environment=read_environment(folder),
            probed=probed,
            times=None if of is None else of.times,
            ledger=ledger,
            lost_sent_ns=lost_sent_ns,
            stages=stages,
            alerts=read_alerts(folder),
            monitoring=read_monitoring(folder),
            since=moment(facts, None if of is None else of.times.due_ns.first),
            gaps=gaps,
        )


def _stages(
    folder: Path, facts: Facts, of: Account, lost: Records | None, gaps: list[str]
) -> Stages | None:
    if not facts.stages_marked:
        return None
    try:
        return stages_of(fates(folder, facts, of)[0] if lost is None else lost)
    except (HarnessError, OSError, ValueError, TypeError) as error:
        gaps.append(f"The marks of stages cannot be read: {error}.")
        return None


def read_environment(folder: Path) -> Environment:
    """Return what a run recorded of its machine; empty where it recorded nothing."""
    try:
        return Environment.model_validate_json(read_bytes(folder / "environment.json"))
    except (OSError, ValidationError):
        return Environment()


def _genuine(folder: Path, facts: Facts, judged: Judged, gaps: list[str]) -> bool:
    """Return whether a run is as it was recorded; nothing is shown of one that is not."""
    try:
        genuine(folder, facts.run_id, sealed=facts.sealed, seal=judged.seal)
    except (AlteredError, OSError) as error:
        gaps.append(f"The run was {error}.")
        return False
    return True


def _account(
    stack: ExitStack, folder: Path, facts: Facts, judged: Judged, gaps: list[str]
) -> Account | None:
    of = judged.account
    if facts.collected and of is None:
        try:
            of = stack.enter_context(open_account(folder, facts, collected=True))
        except (HarnessError, OSError, ValueError) as error:
            gaps.append(f"What was persisted cannot be read: {error}.")
    if not facts.collected:
        gaps.append("What was persisted was never collected, so neither is shown.")
    if of is None:
        try:
            of = stack.enter_context(open_account(folder, facts, collected=False))
        except (HarnessError, OSError) as error:
            gaps[:] = [f"The journals cannot be read: {error}."]
            return None
    if not of.heads.complete:
        gaps.insert(0, f"The journals are incomplete: {of.heads.why_incomplete}.")
    return of


def _probed(path: Path, gaps: list[str]) -> Probed:
    looks = [_LOOKS.copy()]
    unread = 0
    try:
        with TextIOWrapper(open_regular(path), "utf-8", "replace") as file:
            while lines := list(islice(file, _LINES)):
                known = [look for look in map(_look, _samples(lines)) if look is not None]
                unread += len(lines) - len(known)
                looks.append(_as_array(known))
    except OSError:
        gaps.append("The health probe's samples are missing, so no queue length is shown.")
    if unread:
        gaps.append(f"Of the health probe {plural(unread, 'sample')} cannot be read.")
    every = np.concatenate(looks)
    return Probed(every["at_ns"], every["ok"], every["queue_length"])


def _as_array(known: Sequence[tuple[int, bool, float]]) -> npt.NDArray[np.void]:
    looks = np.empty(len(known), _LOOKS.dtype)
    if known:
        # By columns: NumPy takes rows apart one by one.
        for name, column in zip(_LOOKS.dtype.names or (), zip(*known, strict=True), strict=True):
            looks[name] = column
    return looks


def _samples(lines: Sequence[str]) -> Sequence[object]:
    """Return the values of lines of JSON, None for those that are none."""
    try:
        # All in one is twice as fast, and nearly always right.
        every: list[object] = json.loads(f"[{','.join(lines)}]")
    except ValueError:
        every = []
    return every if len(every) == len(lines) else [_value(line) for line in lines]


def _value(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _look(look: object) -> tuple[int, bool, float] | None:
    """Return time, answer and queue length of one sample; None when it is damaged."""
    if not isinstance(look, dict):
        return None
    at_ns, length = look.get("answered_ns"), look.get("queue_length")
    if not isinstance(at_ns, int):
        return None
    queued = float(length) if isinstance(length, int) else math.nan
    return at_ns, look.get("ok") is True, queued

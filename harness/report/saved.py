"""A run folder read for showing: what it saved, and why a part of it cannot be shown.

Nothing here judges: the verdict is the one in ``result.json``. The ledger is drawn up again
only to know which events were lost, and when it disagrees with the verdict that is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.account import Account, open_account
from harness.alerting import Alert, Monitoring, read_alerts, read_monitoring
from harness.errors import HarnessError
from harness.facts import Facts
from harness.ledger.records import Ledger
from harness.ledger.times import Times
from harness.report.alerts import Moment, moment
from harness.report.stages import Stages, read_stages
from harness.result import Result

# Samples of the health probe that are read at once.
_LINES = 4096
_LOOKS = np.empty(0, [("at_ns", np.int64), ("ok", np.bool_), ("queue_length", np.float64)])

Scalar = str | int | float | bool | None


class Environment(BaseModel):
    """``environment.json``, as far as it is shown; other keys may be there."""

    model_config = ConfigDict(extra="ignore")

    machine: dict[str, Scalar] = {}
    packages: dict[str, Scalar] = {}
    servers: dict[str, Scalar] = {}
    settings: dict[str, Scalar] = {}
    servers_served_before: int | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """What the health probe saw, one entry a look.

    Attributes:
        at_ns: wall clock of the answer, nanoseconds.
        ok: the target answered.
        queue_length: events; NaN where the target did not tell.
    """

    at_ns: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    queue_length: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SavedRun:
    """One run as its folder tells it; None and empty where it does not.

    Attributes:
        times: of its events.
        ledger: each event in its class.
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
    since: Moment | None
    gaps: Sequence[str]


@contextmanager
def open_run(folder: Path) -> Iterator[SavedRun]:
    """Read a run folder; what is yielded is good until the end of the ``with``.

    Raises:
        UsageError: it is not a run's folder, or its facts or result are damaged.
    """
    facts, result = Facts.load(folder), Result.load_from(folder)
    gaps: list[str] = []
    with ExitStack() as stack:
        of = _account(stack, folder, facts, gaps)
        ledger = of.ledger if of is not None and of.collected else None
        if ledger is not None and ledger.counts.lost != result.counts.lost:
            gaps.append(
                f"The data show {ledger.counts.lost} lost events and the saved verdict "
                f"{result.counts.lost}; judge the run again with `harness report`."
            )
        yield SavedRun(
            result=result,
            facts=facts,
            environment=read_environment(folder),
            probed=_probed(folder / "probe.jsonl", gaps),
            times=None if of is None else of.times,
            ledger=ledger,
            lost_sent_ns=np.empty(0, np.int64) if ledger is None or of is None else of.lost_sent_ns,
            stages=read_stages(folder),
            alerts=read_alerts(folder),
            monitoring=read_monitoring(folder),
            since=moment(facts, None if of is None else of.times.due_ns.first),
            gaps=gaps,
        )


def read_environment(folder: Path) -> Environment:
    """Return what a run recorded of its machine; empty where it recorded nothing."""
    try:
        return Environment.model_validate_json((folder / "environment.json").read_bytes())
    except (OSError, ValidationError):
        return Environment()


def _account(stack: ExitStack, folder: Path, facts: Facts, gaps: list[str]) -> Account | None:
    of = None
    if facts.collected:
        try:
            of = stack.enter_context(open_account(folder, facts, collected=True))
        except (HarnessError, OSError, ValueError) as error:
            gaps.append(f"What was persisted cannot be read: {error}.")
    else:
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
        with path.open(encoding="utf-8", errors="replace") as file:
            while lines := list(islice(file, _LINES)):
                seen = [_look(sample) for sample in _samples(lines)]
                known = [look for look in seen if look is not None]
                unread += len(seen) - len(known)
                looks.append(np.array(known, _LOOKS.dtype))
    except OSError:
        gaps.append("The health probe's samples are missing, so no queue length is shown.")
    if unread:
        gaps.append(f"{unread} samples of the health probe cannot be read.")
    every = np.concatenate(looks)
    return Probed(every["at_ns"], every["ok"], every["queue_length"])


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
    if not isinstance(look, dict) or not isinstance(look.get("answered_ns"), int):
        return None
    length = look.get("queue_length")
    queued = float(length) if isinstance(length, int) else math.nan
    return look["answered_ns"], look.get("ok") is True, queued

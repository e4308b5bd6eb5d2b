"""A run folder read for showing: what it saved, and why a part of it cannot be shown.

Nothing here judges: the verdict is the one in ``result.json``. The ledger is drawn up again
only to know which events were lost, and when it disagrees with the verdict that is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.alerting import Alert, Monitoring, read_alerts, read_monitoring
from harness.errors import HarnessError
from harness.facts import Facts
from harness.ledger.collected import Collected
from harness.ledger.reconcile import reconcile
from harness.ledger.records import Held, Ledger, Told
from harness.load.reading import read_journals
from harness.report.alerts import Moment, moment
from harness.report.stages import Stages, read_stages
from harness.result import Result

Scalar = str | int | float | bool | None


class Environment(BaseModel):
    """``environment.json``, as far as it is shown; other keys may be there."""

    model_config = ConfigDict(extra="ignore")

    machine: dict[str, Scalar] = {}
    packages: dict[str, Scalar] = {}
    servers: dict[str, Scalar] = {}
    settings: dict[str, Scalar] = {}


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
        told, held, ledger: journals, rows, and each event in its class.
        monitoring: what watched it; None where nothing did.
        since: what alerts are timed against.
        gaps: one sentence for each part that cannot be shown.
    """

    result: Result
    facts: Facts
    environment: Environment
    probed: Probed
    told: Told | None
    held: Held | None
    ledger: Ledger | None
    stages: Stages | None
    alerts: Sequence[Alert]
    monitoring: Monitoring | None
    since: Moment | None
    gaps: Sequence[str]


def read_run(folder: Path) -> SavedRun:
    """Read a run folder.

    Raises:
        UsageError: it is not a run's folder, or its facts or result are damaged.
    """
    facts, result = Facts.load(folder), Result.load_from(folder)
    gaps: list[str] = []
    told, held, ledger = _ledger(folder, facts, result, gaps)
    return SavedRun(
        result=result,
        facts=facts,
        environment=read_environment(folder),
        probed=_probed(folder / "probe.jsonl", gaps),
        told=told,
        held=held,
        ledger=ledger,
        stages=read_stages(folder),
        alerts=read_alerts(folder),
        monitoring=read_monitoring(folder),
        since=moment(folder, facts),
        gaps=gaps,
    )


def read_environment(folder: Path) -> Environment:
    """Return what a run recorded of its machine; empty where it recorded nothing."""
    try:
        return Environment.model_validate_json((folder / "environment.json").read_bytes())
    except (OSError, ValidationError):
        return Environment()


def _ledger(
    folder: Path, facts: Facts, result: Result, gaps: list[str]
) -> tuple[Told | None, Held | None, Ledger | None]:
    try:
        journals = read_journals(folder)
    except (HarnessError, OSError) as error:
        gaps.append(f"The journals cannot be read: {error}.")
        return None, None, None
    if not journals.complete:
        gaps.append(f"The journals are incomplete: {journals.why_incomplete}.")
    told = Told(journals.intents, journals.outcomes)
    if not facts.collected:
        gaps.append("What was persisted was never collected, so neither is shown.")
        return told, None, None
    try:
        saved = Collected.load(folder)
        held = Held(saved.rows, saved.dead_lettered, saved.pending)
        ledger = reconcile(told, held)
    except (HarnessError, OSError, ValueError) as error:
        gaps.append(f"What was persisted cannot be read: {error}.")
        return told, None, None
    if ledger.counts.lost != result.counts.lost:
        gaps.append(
            f"The data show {ledger.counts.lost} lost events and the saved verdict "
            f"{result.counts.lost}; judge the run again with `harness report`."
        )
    return told, held, ledger


def _probed(path: Path, gaps: list[str]) -> Probed:
    looks: list[tuple[int, bool, float]] = []
    unread = 0
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for sample in _samples(lines):
            look = _look(sample)
            if look is None:
                unread += 1
            else:
                looks.append(look)
    except OSError:
        gaps.append("The health probe's samples are missing, so no queue length is shown.")
    if unread:
        gaps.append(f"{unread} samples of the health probe cannot be read.")
    columns = list(zip(*looks, strict=True)) or [(), (), ()]
    return Probed(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.bool_),
        np.array(columns[2], np.float64),
    )


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

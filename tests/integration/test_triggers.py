"""Faults that wait for rows persisted and for the first refusal, on a real run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossmeter.model import Status
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts
from lossmeter.record.journals import read_journals
from tests.support.program import lossmeter

PERSISTED = 100

# The queue is full at once. Whoever waits gets room in the order of arrival, so the line must
# grow for 5 s until one waits in vain for 5 s more: the load lasts longer than both.
EXPERIMENT = f"""
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

EXPERIMENT = Experiment(
    name="waits",
    hypothesis="Faults come when what they wait for has come.",
    variants=(
        Variant(
            "",
            steady(200, 13),
            (
                PlannedFault("pause", Trigger("persisted >= {PERSISTED}"), 0.3),
                PlannedFault("sigkill", Trigger("first refusal")),
            ),
            {{"workers": 5, "handler_time_s": 0.05, "capacity": 50}},
        ),
    ),
    targets=("channel",),
    predict=lambda seen: Predicted(),
    bounds={{"max_lost": 100}},
)
"""

PAUSE = f'PlannedFault("pause", Trigger("persisted >= {PERSISTED}"), 0.3)'
STOP = 'PlannedFault("stop", Trigger(at_s=1), parameters={"grace_s": 4, "pre_stop_s": 5})'
LATE = 'PlannedFault("pause", Trigger(at_s=13), 0.3)'
AWAY = 'PlannedFault("server-kill", Trigger(at_s=1), 2.0, {"servers": "postgres"})'
KEEPS_IN_DATABASE = """
extends = "targets/channel.toml"
name = "mine"
summary = "keeps dead letters in the database"
[behaviour]
dead_letter_capacity = 1000
"""
NEVER = EXPERIMENT.replace(f"persisted >= {PERSISTED}", "queue_length >= 2000")


def test_faults_come_within_20_ms_of_what_they_wait_for(project: Path) -> None:
    (project / "waits.py").write_text(EXPERIMENT)
    done = lossmeter("run", "waits.py", "--runtime", "local", "--json", "-")
    assert done.code == 0, done.err
    (folder,) = (project / "results" / "runs").iterdir()
    pause, kill = Facts.load(folder).faults

    assert pause.met_ns is not None
    persisted_ns = np.sort(Collected.load(folder).rows["persisted_ns"])[PERSISTED - 1]
    assert pause.met_ns >= persisted_ns
    assert pause.met_ns - persisted_ns <= 30e6

    assert kill.met_ns is not None
    outcomes = read_journals(folder).outcomes
    refused_ns = outcomes["done_ns"][outcomes["status"] == Status.REFUSED].min()
    assert kill.met_ns >= refused_ns
    assert kill.met_ns - refused_ns <= 30e6

    for record in (pause, kill):
        assert record.look_gap_s is not None
        assert record.look_gap_s <= 0.020
        assert record.lag_s is not None
        assert 0 <= record.lag_s <= 0.020
    assert "ms after the condition" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NEVER, "queue_length >= 2000, which can never come true: the queue holds 50 events"),
        (
            EXPERIMENT.replace("persisted >= 100", "persisted > 2600"),
            "only 2,600 events are sent",
        ),
        (EXPERIMENT.replace("persisted", "persistent"), "'first refusal'; queue_length, in_flight"),
        (
            EXPERIMENT.replace(PAUSE, STOP),
            "pre_stop_s 5 is longer than grace_s 4, of which it is a part",
        ),
        (EXPERIMENT.replace(PAUSE, LATE), "comes at 13 s, when the load of 13 s is over"),
        (EXPERIMENT.replace(PAUSE, AWAY), "without a retry an event is given up while it is away"),
    ],
)
def test_what_contradicts_itself_starts_nothing(project: Path, text: str, said: str) -> None:
    (project / "waits.py").write_text(text)
    (project / "mine.toml").write_text(KEEPS_IN_DATABASE)
    target = "mine.toml" if AWAY in text else "channel"
    done = lossmeter("run", "waits.py", "--runtime", "local", "--target", target)
    assert done.code == 4
    (line,) = [line for line in done.err.splitlines() if line.startswith("error:")]
    assert said in line
    assert "Traceback" not in done.err
    assert not (project / "results" / "runs").exists()

"""Faults that hold at the same time on a real run: each comes, proves itself and is healed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.record.facts import Facts, FaultRecord
from tests.support.program import lossmeter

EXPERIMENT = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.model import Predicted

FAULTS = {faults}
EXPERIMENT = Experiment(
    name="together",
    hypothesis="Faults that hold at the same time come at their times.",
    variants=(Variant("", steady(50, 8), FAULTS, {{"handler_time_s": 0.01}}),),
    targets=("channel",),
    predict=lambda seen: Predicted(),
    bounds={{"max_lost": 400}},
)
"""
SLOW_AND_KILLED = (
    '(PlannedFault("latency", Trigger(at_s=1), 6.0, {"latency_ms": 100}),'
    ' PlannedFault("sigkill", Trigger(at_s=3)))'
)
DOWN_AND_PAUSED = (
    '(PlannedFault("pause", Trigger(at_s=2), 1.0),'
    ' PlannedFault("proxy-down", Trigger(at_s=1), 4.0))'
)
KILLED_WHILE_PAUSED = (
    '(PlannedFault("pause", Trigger(at_s=2), 2.0), PlannedFault("sigkill", Trigger(at_s=3)))'
)


def _seconds(begin_ns: int | None, end_ns: int | None) -> float:
    assert begin_ns is not None
    assert end_ns is not None
    return (end_ns - begin_ns) / 1e9


@pytest.mark.parametrize(
    ("faults", "names", "apart_s", "held_s"),
    [
        (SLOW_AND_KILLED, ("latency", "sigkill"), 2.0, 6.0),
        (DOWN_AND_PAUSED, ("proxy-down", "pause"), 1.0, 4.0),
    ],
)
def test_the_second_comes_at_its_time_while_the_first_holds(
    project: Path, faults: str, names: tuple[str, str], apart_s: float, held_s: float
) -> None:
    (project / "together.py").write_text(EXPERIMENT.format(faults=faults))
    done = lossmeter("run", "together.py", "--runtime", "local")
    assert done.code == 0, done.err
    (folder,) = (project / "results" / "runs").iterdir()
    outer, inner = Facts.load(folder).faults
    assert (outer.fault, inner.fault) == names
    assert _seconds(outer.injected_ns, inner.injected_ns) == pytest.approx(apart_s, abs=0.5)
    assert _seconds(inner.healed_ns, outer.healed_ns) > 0
    assert held_s <= _seconds(outer.injected_ns, outer.healed_ns) < held_s + 2
    for record in (outer, inner):
        _check_evidence(record)
        assert done.err.count(f"fault {record.fault} injected") == 1
        assert done.err.count(f"fault {record.fault} healed") == 1
    # A plain status line comes every 5 s; it says what holds meanwhile.
    assert held_s < 5 or f"{names[0]} holds for" in done.err


def _check_evidence(record: FaultRecord) -> None:
    assert record.problem is None
    assert [each for each in record.evidence if not each.holds] == []
    assert len({each.source for each in record.evidence}) >= 2


def test_two_that_strike_the_same_start_nothing(project: Path) -> None:
    (project / "together.py").write_text(EXPERIMENT.format(faults=KILLED_WHILE_PAUSED))
    done = lossmeter("run", "together.py", "--runtime", "local")
    assert done.code == 4
    said = "faults pause (2 to 4 s) and sigkill (at 3 s) both strike the target"
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (project / "results" / "runs").exists()

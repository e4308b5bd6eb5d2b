"""Which cells have the machine alone, from the start or because they lacked CPU beside others."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lossmeter.commands._side_by_side import spoilt
from lossmeter.commands._worker import Answers
from lossmeter.faults._fault import Fault, choose
from lossmeter.model import Verdict
from lossmeter.plugins import load, names_in
from lossmeter.record.result import Result
from lossmeter.run.admission import needs_alone
from lossmeter.world import recovery, runtimes
from lossmeter.world.ownership import Owner
from lossmeter.world.site import Process as Seen
from tests.support.judged_runs import Run, a_result
from tests.support.slots import (
    LOCAL,
    cells_of,
)


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"verdict": Verdict.INCONCLUSIVE, "starved": True}, True),
        ({"verdict": Verdict.INCONCLUSIVE, "starved": False}, False),
        # A violation stays one, whatever else is in doubt.
        ({"verdict": Verdict.FAIL, "starved": True}, False),
        ({"verdict": Verdict.ERROR, "starved": True}, False),
        ({"verdict": Verdict.PASS, "starved": False}, False),
    ],
)
def test_only_what_says_nothing_for_want_of_cpu_is_spoilt(
    changes: dict[str, Any], again: bool
) -> None:
    assert spoilt(a_result("pass").model_copy(update=changes)) is again


@pytest.mark.parametrize(
    ("facts", "lag_ns", "starved"),
    [({"probe_gap_s": 0.7}, 0, True), ({}, 10**9, True), ({"settled": False}, 0, False)],
)
def test_the_judge_tells_want_of_cpu_from_other_doubts(
    tmp_path: Path, facts: dict[str, object], lag_ns: int, starved: bool
) -> None:
    result = Run(tmp_path, facts=facts, lag_ns=lag_ns).judged()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.starved is starved
    assert spoilt(result) is starved


@pytest.mark.parametrize("again_for", ["the-first", ""])
def test_a_run_made_again_says_so_whenever_it_is_judged(tmp_path: Path, again_for: str) -> None:
    result = Run(tmp_path, facts={"again_for": again_for}).judged()
    assert result.verdict is Verdict.PASS
    told = [note for note in result.notes if "made again alone, since the-first" in note]
    assert bool(told) is bool(again_for)


def test_a_result_arrives_as_it_was_judged(tmp_path: Path) -> None:
    judged = Run(tmp_path, rows=list(range(35))).judged()
    line = io.StringIO()
    Answers(line).give("result", judged.model_dump(mode="json"))
    assert Result.model_validate(json.loads(line.getvalue())["result"]) == judged


# Who must be alone.


def test_whatever_measures_the_machine_or_strikes_it_is_alone() -> None:
    for experiment in ("rates", "equal-rates"):
        for cell in cells_of(experiment, "channel"):
            assert needs_alone(cell, LOCAL) == "it measures what the machine can do"
    for experiment in ("oom", "power-loss", "db-disk-full"):
        for cell in cells_of(experiment, "channel"):
            assert "concerns the whole machine" in str(needs_alone(cell, LOCAL)), cell.name
    for experiment in ("crash", "control", "broker-down", "db-latency"):
        for cell in cells_of(experiment, "redis"):
            assert needs_alone(cell, LOCAL) is None, cell.name


def test_a_runtime_that_is_not_known_to_keep_cells_apart_has_none_side_by_side() -> None:
    (cell,) = cells_of("control", "channel")
    for name in names_in(runtimes):
        runtime = load(runtimes, name, "runtime").RUNTIME
        assert (needs_alone(cell, runtime) is None) == (name == "local")


def test_faults_that_concern_the_machine_are_named_by_themselves() -> None:
    assert [choose(name, {}).kind.whole_machine for name in ("oom", "disk-full", "power-loss")] == [
        True
    ] * 3
    assert Fault.whole_machine is False


def test_a_target_that_is_there_once_is_alone() -> None:
    (cell,) = cells_of("control", "channel")
    start = cell.target.start
    assert start is not None
    fixed = cell.target.model_copy(update={"start": start.model_copy(update={"port": 8080})})
    assert "port of its own" in str(needs_alone(replace(cell, target=fixed), LOCAL))
    tuned = replace(cell, variant=replace(cell.variant, tuned=True))
    assert needs_alone(tuned, LOCAL) is not None


# What a harness below another one leaves.


def _process(pid: int, parent: int) -> Seen:
    return Seen(pid, parent, pid, 5, "python", "S", 0.0)


def test_who_gives_up_kills_what_the_harnesses_below_it_started_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    me = os.getpid()
    here = Owner.this_process("install")
    below, stranger = replace(here, pid=501), replace(here, pid=900)
    # Servers have sessions of their own, and may have lost their parents.
    parents = {me: 1, 501: me, 502: 501, 601: 501, 602: 1, 701: me, 900: 1, 901: 900}
    table = {pid: _process(pid, parent) for pid, parent in parents.items()}
    owners = {601: below, 602: below, 701: here, 901: stranger}
    killed: list[int] = []
    monkeypatch.setattr(Owner, "alive", lambda _: True)
    monkeypatch.setattr(recovery, "kill_own_targets", lambda: None)
    monkeypatch.setattr(recovery, "process_table", lambda: table)
    monkeypatch.setattr(
        recovery, "marked", lambda: ((table[pid], owner) for pid, owner in owners.items())
    )
    monkeypatch.setattr(recovery, "may_send", lambda each, _: killed.append(each.pid))
    recovery.kill_own()
    assert sorted(killed) == [501, 601, 602, 701]
    assert killed[0] == 501, "it would start others"

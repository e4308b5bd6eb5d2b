"""Who used the CPUs, as the kernel counts, and what that says of a target's limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.model import IDLE, OTHERS
from lossmeter.report.backends import tiers
from lossmeter.report.limits import limit, limits_table
from lossmeter.report.recorded import JudgedRun
from lossmeter.run import cpu_use
from lossmeter.run.cpu_use import HARNESS, CpuUse
from lossmeter.world.waiting import wait_for
from tests.support.matrix_runs import Runs, frame

BUSY = "print(0, flush=True)\nwhile True: pass"
# A process whose child works, and that sleeps itself.
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        os.killpg(process.pid, 9)


def _looked(use: CpuUse, name: str, least: float) -> dict[str, float]:
    def found() -> bool:
        use.look()
        return use.cpus().get(name, 0.0) > least

    assert wait_for(found, 30)
    return use.cpus()


def test_a_child_counts_for_what_its_parent_belongs_to(
    parent: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_use, "LOOK_EVERY_S", 0.2)
    use = CpuUse(lambda: {"target": [parent.pid]})
    assert use.cpus() == {}, "one look shows nothing"
    # Others may be at work on this machine, so no more is certain.
    cpus = _looked(use, "target", 0.05)
    assert {"target", HARNESS, OTHERS, IDLE} == set(cpus)
    assert min(cpus.values()) >= 0


def test_one_that_is_known_by_no_name_is_the_harness_if_it_descends_from_it(
    parent: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_use, "LOOK_EVERY_S", 0.2)
    assert "target" not in _looked(CpuUse(lambda: {"target": []}), HARNESS, 0.05)
    assert parent.poll() is None


@pytest.mark.parametrize(
    ("cpus", "words"),
    [
        ({"target": 0.9, "redis": 0.9, OTHERS: 0.05, IDLE: 0.15}, "the CPUs: none was idle"),
        (
            {"target": 0.97, "redis": 0.2, OTHERS: 0.0, IDLE: 0.8},
            "the target's process: it keeps one CPU busy",
        ),
        ({"target": 0.5, "redis": 0.2, OTHERS: 0.0, IDLE: 1.3}, "no CPU: 1.30 of them were idle"),
        (
            {"target": 0.5, OTHERS: 1.3, IDLE: 0.1},
            "not known: what is not of the run used 1.30 CPUs",
        ),
    ],
)
def test_a_limit_is_said_by_what_was_counted(cpus: Mapping[str, float], words: str) -> None:
    assert limit(cpus) == words


def _with(run: JudgedRun, cpus: dict[str, float]) -> JudgedRun:
    assert run.result.load is not None
    load = run.result.load.model_copy(update={"cpus": cpus})
    return replace(run, result=run.result.model_copy(update={"load": load}))


def test_the_lowest_rate_that_is_not_kept_shows_the_limit(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    slow = {"target": 1.0, "postgres": 0.5, OTHERS: 0.1, IDLE: 0.4}
    made = [
        _with(runs.tier("redis", 100), {"target": 0.1, IDLE: 1.9}),
        _with(runs.tier("redis", 200, refused=5), slow),
        _with(runs.tier("redis", 200, refused=5), slow | {"postgres": 0.7}),
        _with(runs.tier("kafka", 100), {"target": 0.2, "kafka": 0.3, IDLE: 1.5}),
        runs.tier("channel", 100),
    ]
    text = " ".join(limits_table(made, tiers(frame(made))).split())
    assert "| redis | 200/s | 1.00 | 0.60 | 0.10 | | 0.40 | the target's process: it keeps" in text
    assert "| kafka | 100/s | 0.20 | | | 0.30 | 1.50 | – |" in text
    assert "channel" not in text, "nothing was counted there"
    assert limits_table([made[-1]], tiers(frame(made[-1:]))) == ""

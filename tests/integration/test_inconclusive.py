"""Real runs that say nothing about their target: the verdict is inconclusive, and never pass.

What a journal that ends early leads to is in ``test_safety.py``; that the clock of this
machine jumps cannot be had for a test, so ``tests/unit/test_clock.py`` and ``test_judge.py``
have it alone.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Done, Running, loading, lossmeter, until

EXPERIMENT = """
from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.model import Predicted

EXPERIMENT = Experiment(
    name="quick",
    hypothesis="Nothing is lost.",
    variants=(Variant("", Load(({phases},)), ({fault}), {settings}),),
    targets=("channel",),
    predict=lambda _: Predicted(),
    bounds={{"max_lost": 0}},
)
"""
STOPPED_S = 2.5


def _ask(
    project: Path,
    *,
    phases: str = "Phase(80, 4)",
    fault: str = "",
    target: str = "channel",
    **settings: float,
) -> list[str]:
    """Return the arguments that run a load of four seconds which passes, but for what is asked."""
    file = project / "quick.py"
    settings = {"workers": 5, **settings}
    file.write_text(EXPERIMENT.format(phases=phases, fault=fault, settings=settings))
    return ["run", str(file), "--target", target, "--runtime", "local", "--json", "-"]


def _said(done: Done) -> str:
    """Return the reason of a run that was inconclusive."""
    result: dict[str, Any]
    (result,) = done.results()
    assert result["verdict"] == "inconclusive", result["reason"]
    assert done.code == 7
    reason: str = result["reason"]
    return reason


def _changed(project: Path, old: str, new: str) -> str:
    """Return the file of a channel of which one line is different."""
    text = (project / "targets" / "channel.toml").read_text()
    assert old in text
    file = project / "changed.toml"
    file.write_text(text.replace(old, new))
    return str(file)


def test_the_load_that_these_runs_share_passes(project: Path) -> None:
    (result,) = lossmeter(*_ask(project)).results()
    assert result["verdict"] == "pass", result["reason"]
    assert result["counts"]["delivered"] == 320


def test_nothing_acked(project: Path) -> None:
    target = _changed(project, 'events = "/events"', 'events = "/nowhere"')
    assert "nothing was acked" in _said(lossmeter(*_ask(project, target=target)))


def test_no_load_while_the_fault_held(project: Path) -> None:
    # Events are due at 4 s and at 6.5 s, and it comes and is over in between.
    ask = _ask(
        project,
        phases="Phase(80, 4), Phase(0.4, 5)",
        fault='PlannedFault("sigkill", Trigger(at_s=4.3)),',
    )
    assert "no load while fault sigkill held" in _said(lossmeter(*ask))


def test_reads_that_do_not_settle(project: Path) -> None:
    target = _changed(project, "[persisted]", "[persisted]\nsettle_limit_s = 1.5")
    ask = _ask(project, target=target, handler_time_s=0.5)
    assert "reads never settled: after 1.5 s" in _said(lossmeter(*ask))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "the health probe was kept from looking for"),
        ("locust", "the load lagged behind its schedule by"),
    ],
    ids=["harness", "load"],
)
def test_no_cpu_for_the_harness(
    project: Path, background: Callable[..., Running], name: str, said: str
) -> None:
    running = background(*_ask(project))
    until(lambda: loading(project / "results" / "runs"))
    starved = running.process(name) if name else running.popen
    starved.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    starved.send_signal(signal.SIGCONT)
    reason = _said(running.end())
    assert said in reason
    assert "starved of CPU" in reason
    (folder,) = (project / "results" / "runs").iterdir()
    assert json.loads((folder / "result.json").read_text())["verdict"] == "inconclusive"

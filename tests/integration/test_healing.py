"""A run that is interrupted while a fault holds heals it first; one fault of each kind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from lossmeter.faults._fault import choose
from lossmeter.plan.catalogue import Catalogue
from lossmeter.record.facts import Facts
from lossmeter.world.install.cache import cache_root
from tests.attack.fuzz_files import ROOT
from tests.attack.kill_cases import ALARM
from tests.support.program import COMMAND, left_behind, loading, lossmeter, until
from tests.support.sites import runtime_named

# The fault holds for longer than any test waits.
EXPERIMENT = """
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.faults._fault import choose
from lossmeter.model import Predicted

FAULT = PlannedFault({fault!r}, Trigger(at_s=1, load={moment!r}), {hold!r}, {parameters!r})
EXPERIMENT = Experiment(
    name="held",
    hypothesis="A fault that is held is healed.",
    variants=(Variant("", steady(50, 300), (FAULT,), {settings!r}),),
    targets=("channel",),
    predict=lambda seen: Predicted(),
    bounds={{"max_lost": 0}},
)
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, and what shows that it was taken back.

    Attributes:
        sources: of evidence that only healing gives, each of which must hold.
        holds_s: how long it holds before the interrupt, so that it has met something.
    """

    fault: str
    sources: tuple[str, ...]
    target: str = "channel"
    runtime: str = "local"
    moment: str = "during"
    hold_s: float | None = 300
    holds_s: float = 0.5
    parameters: dict[str, str | int | float] = field(default_factory=dict)
    settings: dict[str, str | int | float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.runtime}-{self.fault}"


REJECT: dict[str, str | int | float] = {"table": "notice", "every": 2, "remainder": 0}
LOCKS = {**REJECT, "every": 15, "remainder": 7, "pairs": 8}
ENOUGH: dict[str, str | int | float] = {"headroom_mib": 256, "within_s": 1}
LIVES = ("process-table", "health-probe", "boot-id")
KINDS = (
    Kind("sigkill", LIVES),
    Kind("stop", LIVES, parameters={"grace_s": 5}),
    Kind("panic", LIVES, settings={"panic_endpoint": "true"}),
    Kind("pause", ("process-table", "health-probe")),
    Kind("oom", ("process-table",), parameters=ENOUGH),
    Kind("server-kill", ("process-table", "server-address"), "redis"),
    Kind("partition", ("through-proxy",), "redis"),
    Kind(
        *("reject-rows", ("trigger-counter", "pg_stat_database")),
        moment="before",
        hold_s=None,
        parameters=REJECT,
    ),
    Kind("proxy-down", ("through-proxy",)),
    Kind("latency", ("through-proxy",), parameters={"latency_ms": 250}),
    Kind("disk-full", ("statfs", "server-log"), holds_s=2),
    Kind("deadlock", ("server-log", "pg_stat_database"), parameters=LOCKS, holds_s=6),
    Kind("memory-alarm", ("management", "publisher"), str(ROOT / ALARM[1]), holds_s=2),
    Kind("power-loss", (*LIVES, "mount-table", "server-log"), "redis"),
    Kind("sigkill", LIVES, runtime="docker"),
    Kind("pause", ("process-table", "health-probe"), runtime="docker"),
    Kind("disconnect", ("health-probe",), runtime="docker"),
    Kind("partition", ("through-proxy",), "redis", runtime="docker"),
    Kind("server-kill", ("process-table", "server-address"), "redis", runtime="docker"),
)


@pytest.fixture
def held(project: Path) -> Iterator[_Start]:
    start = _Start(project)
    yield start
    start.abandon()


class _Start:
    """Starts a run whose fault holds, and reads what it says meanwhile."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._log = project / "said.txt"
        self._popen: subprocess.Popen[bytes] | None = None

    def __call__(self, kind: Kind) -> subprocess.Popen[bytes]:
        text = EXPERIMENT.format(
            fault=kind.fault,
            moment=kind.moment,
            hold=kind.hold_s,
            parameters=kind.parameters,
            settings=kind.settings,
        )
        (self._project / "held.py").write_text(text)
        where = ("--target", kind.target, "--runtime", kind.runtime)
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [*COMMAND, "run", "held.py", *where],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "COLUMNS": "200"},
            )
        return self._popen

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def abandon(self) -> None:
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
            lossmeter("recover")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_fault_that_holds_is_healed_when_the_run_is_interrupted(
    project: Path, held: _Start, kind: Kind
) -> None:
    runtime = runtime_named(kind.runtime)
    fault = choose(kind.fault, kind.parameters).build()
    lacking = set(fault.needs) - runtime.capabilities(Catalogue.here().target(kind.target))
    if lacking:
        pytest.skip(f"no {', '.join(need.__name__ for need in lacking)} here")
    running = held(kind)
    until(lambda: f"fault {kind.fault} injected" in held.said() or _over(running, held), 120)
    # Some events meet it while it holds.
    until(lambda: loading(project / "results" / "runs") or _over(running, held), 60)
    time.sleep(kind.holds_s)
    assert "healed" not in held.said()

    running.send_signal(signal.SIGINT)

    assert running.wait(90) == 2
    said = held.said()
    assert f"fault {kind.fault} healed" in said
    assert "interrupted: faults healed, everything stopped" in said
    assert "Traceback" not in said
    (folder,) = (project / "results" / "runs").iterdir()
    (record,) = Facts.load(folder).faults
    assert record.problem is None
    assert record.healed_ns is not None
    shown = {each.source for each in record.evidence if each.holds}
    assert set(kind.sources) <= shown, record.evidence
    assert not [each for each in record.evidence if not each.holds]

    assert left_behind(running.pid) == []
    assert not list((cache_root() / "state" / kind.runtime).glob(f"*~{running.pid}~*"))
    assert not [m for m in psutil.disk_partitions(all=True) if f"~{running.pid}~" in m.mountpoint]


def _over(running: subprocess.Popen[bytes], held: _Start) -> bool:
    """Fail when the run has ended, which none of these may."""
    assert running.poll() is None, held.said()
    return False

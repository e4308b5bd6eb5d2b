"""The kernel chooses whom it ends for want of memory: the main process, a child, or nobody."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lossmeter.faults._fault import choose
from lossmeter.faults.oom import Oom
from lossmeter.model import Evidence
from lossmeter.world.site import (
    Endpoint,
    Exit,
    Incarnation,
    Memory,
    MemoryLimited,
    Process,
    ProcessTree,
)
from tests.support.fake_probe import FakeProbe

ASKED = {"headroom_mib": 4, "within_s": 0.2}
MAIN, CHILD, ANOTHER = (Process(pid, 1, pid, pid, "celery", "S") for pid in (10, 11, 12))


@dataclass
class Pool:
    """A main process with a child, in a control group of their own.

    Attributes:
        kills: how many processes the kernel ends under the limit.
        end: how the main process ends then; None where it goes on.
    """

    kills: int = 0
    end: Exit | None = None
    limit: int | None = None
    limits: list[int | None] = field(default_factory=list)
    started: int = 0
    probe: FakeProbe = field(default_factory=lambda: FakeProbe([], None))
    base_url: str = ""
    folder: Path = Path()
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    parts: tuple[str, ...] = ("worker",)
    part: str = "worker"
    grace_s: float = 10.0
    watched: bool = False

    def at(self, part: str) -> Pool:
        assert part == "worker"
        return self

    def log(self, name: str) -> str:
        raise NotImplementedError(name)

    def memory(self) -> Memory:
        return Memory(self.limit, 1 << 20, self.kills if self.limits else 0)

    def limit_memory(self, limit_bytes: int | None) -> None:
        self.limit = limit_bytes
        self.limits.append(limit_bytes)

    def wait_exit(self, timeout_s: float) -> Exit | None:
        assert timeout_s >= 0
        return self.end

    def incarnation(self) -> Incarnation:
        return Incarnation(10, 10, 0)

    def start(self) -> Incarnation:
        self.started += 1
        return Incarnation(20, 20, 5_000)

    def processes(self) -> list[Process]:
        return [MAIN, ANOTHER if self.kills and self.limits else CHILD]

    def kill(self) -> Exit:
        raise NotImplementedError

    def kill_tree(self) -> Exit:
        raise NotImplementedError

    def kill_process(self, pid: int) -> int:
        raise NotImplementedError

    def removed(self) -> list[str]:
        return []


def _struck(site: Pool) -> tuple[Oom, list[Evidence]]:
    assert isinstance(site, MemoryLimited)
    assert isinstance(site, ProcessTree)
    fault = choose("oom", ASKED).build()
    assert isinstance(fault, Oom)
    evidence = [*fault.inject(site), *fault.heal(site)]
    assert site.limits[-1] is None, "the limit is lifted whatever came"
    return fault, evidence


def _sources(evidence: list[Evidence]) -> set[str]:
    assert not [each for each in evidence if not each.holds]
    return {each.source for each in evidence}


def test_a_child_that_the_kernel_ended_is_evidence_and_the_main_process_goes_on() -> None:
    site = Pool(kills=1)
    fault, evidence = _struck(site)
    wanted = {"control-group", "kernel-oom-count", "process-tree", "process-table"}
    assert _sources(evidence) == wanted
    assert fault.struck_ns is not None
    assert not fault.survived
    assert site.started == 0
    (said,) = [each.value for each in evidence if each.source == "process-tree"]
    assert "process 11 (celery)" in said


def test_a_main_process_that_ends_with_its_child_is_a_finding_and_is_started_again() -> None:
    site = Pool(kills=1, end=Exit(1, None, 3_000, "waitpid"))
    fault, evidence = _struck(site)
    assert {"waitpid", "kernel-oom-count", "control-group"} <= {
        each.source for each in evidence if each.holds
    }
    assert fault.struck_ns is not None
    assert site.started == 1
    assert "exit code 1" in {each.value for each in evidence if each.source == "waitpid"}


def test_nobody_was_ended_where_the_kernel_counts_nothing() -> None:
    fault, evidence = _struck(Pool())
    assert _sources(evidence) == {"control-group", "kernel-oom-count", "process-table"}
    assert fault.survived
    assert fault.struck_ns is None


@pytest.mark.parametrize("code", [0, 1])
def test_an_end_that_the_kernel_had_no_part_in_speaks_against_the_fault(code: int) -> None:
    _, evidence = _struck(Pool(end=Exit(code, None, 3_000, "waitpid")))
    against = {each.source for each in evidence if not each.holds}
    assert {"waitpid", "kernel-oom-count"} <= against


def test_a_limit_that_never_came_into_force_speaks_against_the_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Pool(kills=1)
    monkeypatch.setattr(site, "memory", lambda: Memory(None, 1 << 20, len(site.limits)))
    _, evidence = _struck(site)
    assert [each.source for each in evidence if not each.holds] == ["control-group"]


def test_a_main_process_that_was_ended_itself_is_that_and_no_child() -> None:
    end = Exit(128 + signal.SIGKILL, signal.SIGKILL, 3_000, "waitpid")
    fault, evidence = _struck(Pool(kills=1, end=end))
    assert fault.struck_ns == end.at_ns
    assert any("ended by SIGKILL under a limit" in each.claim for each in evidence)

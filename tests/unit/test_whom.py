"""A SIGKILL to a child or to all, that is said to have been sent and was not."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lossmeter.errors import FaultError
from lossmeter.faults import _children
from lossmeter.faults._fault import choose
from lossmeter.world.process_table import read
from lossmeter.world.site import Exit, Incarnation, Probe, Process
from tests.support.fake_probe import FakeProbe


@dataclass
class Site:
    """A target whose main process is this one; it may do what it says, or nothing."""

    children: list[int]
    obeys: bool
    base_url: str = "http://127.0.0.1:1"
    folder: Path = Path()
    endpoints: dict[str, object] = field(default_factory=dict)
    probe: Probe = field(default_factory=lambda: FakeProbe([], None))  # type: ignore[assignment]

    @property
    def base_urls(self) -> list[str]:
        return [self.base_url]

    def log(self, name: str) -> str:
        return name

    def incarnation(self) -> Incarnation:
        return Incarnation(os.getpid(), 1, 0)

    def start(self) -> Incarnation:
        return self.incarnation()

    def processes(self) -> list[Process]:
        found = [read(pid) for pid in self.children]
        return [each for each in found if each is not None and not each.ended]

    def removed(self) -> list[str]:
        return []

    def kill(self) -> Exit:
        return Exit(137, 9, time.time_ns(), "waitpid")

    def kill_process(self, pid: int) -> int:
        if self.obeys:
            os.kill(pid, 9)
        return time.time_ns()

    def kill_tree(self) -> Exit:
        for pid in self.children:
            self.kill_process(pid)
        return self.kill()


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as popen:
        yield popen.pid
        popen.kill()


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize("whom", ["child", "tree"])
def test_whether_it_was_killed_is_what_the_kernel_says(
    child: int, whom: str, obeys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not obeys:
        monkeypatch.setattr(_children, "ENDS_WITHIN_S", 0.1)
    site = Site([child], obeys)
    evidence = choose("sigkill", {"whom": whom}).build().inject(site)
    if obeys:
        (first, *_) = [each for each in evidence if each.source in {"pidfd", "process-tree"}]
        deadline = time.monotonic() + 5
        while site.processes() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert site.processes() == []
        assert first.source == ("pidfd" if whom == "child" else "process-tree")
        return
    against = [each for each in evidence if not each.holds]
    sources = {each.source for each in against}
    assert sources == ({"pidfd", "process-tree"} if whom == "child" else {"process-tree"})
    assert all(str(child) in each.value for each in against)


def test_a_main_process_without_a_child_has_none_to_kill() -> None:
    fault = choose("sigkill", {"whom": "child"}).build()
    with pytest.raises(FaultError, match="has no child that could be killed"):
        fault.inject(Site([], obeys=True))
    assert fault.heal(Site([], obeys=True)) == []

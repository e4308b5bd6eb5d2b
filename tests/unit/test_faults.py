"""Faults that are silently prevented must not look like faults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lossmeter import faults
from lossmeter.errors import UsageError
from lossmeter.faults._fault import choose
from lossmeter.judge.doubts import fault_doubts
from lossmeter.judge.ledger.times import Times
from lossmeter.model import Evidence
from lossmeter.plugins import names_in
from lossmeter.record.arrays import INTENT, OUTCOME, Operations
from lossmeter.record.facts import FaultRecord
from lossmeter.world.site import Endpoint, Exit, Incarnation, Sample
from tests.support.fake_probe import FakeProbe

KILLED_NS, BACK_NS = 1_000, 2_000


def _sample(at_ns: int, *, ok: bool, boot: str = "") -> Sample:
    return Sample(at_ns, at_ns + 1, ok, queue_length=1, in_flight=1, boot_id=boot)


@dataclass
class FakeSite:
    """A site on which the kill works, unless something is changed."""

    ended: Exit = field(default_factory=lambda: Exit(137, 9, KILLED_NS, "waitpid"))
    lives: list[Incarnation] = field(
        default_factory=lambda: [Incarnation(10, 100, 0), Incarnation(11, 200, BACK_NS)]
    )
    probe: FakeProbe = field(
        default_factory=lambda: FakeProbe(
            [_sample(900, ok=True, boot="a"), _sample(1_500, ok=False)],
            _sample(BACK_NS, ok=True, boot="b"),
        )
    )
    base_url: str = ""
    folder: Path = Path()
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def log(self, name: str) -> str:
        raise NotImplementedError(name)

    def incarnation(self) -> Incarnation:
        return self.lives[0]

    def kill(self) -> Exit:
        return self.ended

    def start(self) -> Incarnation:
        return self.lives[1]


def _evidence(site: FakeSite) -> list[Evidence]:
    fault = choose("sigkill", {}).build()
    return [*fault.inject(site), *fault.heal(site)]


def _doubts(evidence: list[Evidence]) -> list[str]:
    intents = np.zeros(1, INTENT)
    intents["sent_ns"] = 1_200
    record = FaultRecord(
        fault="sigkill", injected_ns=KILLED_NS, healed_ns=BACK_NS, evidence=evidence
    )
    return fault_doubts(record, Times.of(Operations(intents, np.zeros(0, OUTCOME))))


def test_a_kill_that_worked_is_shown_by_four_sources() -> None:
    evidence = _evidence(FakeSite())
    assert {e.source for e in evidence if e.holds} == {
        "waitpid",
        "process-table",
        "health-probe",
        "boot-id",
    }
    assert _doubts(evidence) == []


PREVENTED: dict[str, FakeSite] = {
    "it ended by itself": FakeSite(ended=Exit(0, None, KILLED_NS, "waitpid")),
    "another signal ended it": FakeSite(ended=Exit(143, 15, KILLED_NS, "waitpid")),
    "the same process serves on": FakeSite(lives=[Incarnation(10, 100, 0)] * 2),
    "the target answered all the time": FakeSite(
        probe=FakeProbe([_sample(1_500, ok=True, boot="a")], _sample(BACK_NS, ok=True, boot="b"))
    ),
    "it never came back": FakeSite(probe=FakeProbe([_sample(1_500, ok=False)], None)),
    "the same life answers": FakeSite(
        probe=FakeProbe(
            [_sample(900, ok=True, boot="a"), _sample(1_500, ok=False)],
            _sample(BACK_NS, ok=True, boot="a"),
        )
    ),
}


@pytest.mark.parametrize("how", PREVENTED)
def test_a_prevented_kill_is_doubted(how: str) -> None:
    doubts = _doubts(_evidence(PREVENTED[how]))
    assert any("evidence against fault sigkill" in doubt for doubt in doubts), doubts


def test_healing_what_was_never_injected_does_nothing() -> None:
    assert choose("sigkill", {}).build().heal(FakeSite()) == []


@pytest.mark.parametrize("name", names_in(faults))
def test_each_fault_refuses_parameters_that_it_does_not_know(name: str) -> None:
    with pytest.raises(UsageError, match=rf"fault {name} takes .*, got nonsense"):
        choose(name, {"nonsense": 1})


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("proxy-down", {"servers": 5}, "servers is 5; right is names of servers with spaces"),
        ("latency", {"latency_ms": 5, "servers": ""}, "servers is ''; right is names of servers"),
        (
            "latency",
            {},
            "takes servers, latency_ms, and latency_ms is missing; right is 1",
        ),
        ("latency", {"latency_ms": 0}, "latency_ms is 0; right is 1 to 60000 milliseconds"),
        ("latency", {"latency_ms": True}, "latency_ms is True; right is 1 to 60000"),
        ("latency", {"latency_ms": "much"}, "latency_ms is 'much'; right is 1 to 60000"),
        ("oom", {"within_s": float("inf")}, "within_s is inf; right is above 0 to 3600 seconds"),
        (
            "oom",
            {"headroom_mib": float("nan")},
            "headroom_mib is nan; right is above 0",
        ),
        ("full-queue", {"length": 10}, "takes length, within_s, and within_s is missing"),
        ("full-queue", {"length": 0, "within_s": 1}, "length is 0; right is 1 or more events"),
        ("full-queue", {"length": 1, "within_s": 0}, "within_s is 0; right is above 0 to 3600"),
        ("pod-delete", {"grace_s": 0}, "grace_s is 0; right is 1 to 600 seconds"),
        (
            "stop",
            {"grace_s": 2, "pre_stop_s": 3},
            "pre_stop_s 3 is longer than grace_s 2",
        ),
        ("sigkill", {"by": "me"}, "by is 'me'; right is runtime or host"),
        ("sigkill", {"restart": "policy"}, "restart = 'policy' needs by = 'host'"),
        ("panic", {"path": "panic"}, "path is 'panic'; right is where the target is asked for it"),
        (
            "deadlock",
            {"table": "t", "every": 5, "remainder": 5, "pairs": 1},
            "remainder 5 is never left by a division by 5",
        ),
        (
            "deadlock",
            {"table": "t", "every": 5, "remainder": 1, "pairs": 0},
            "pairs is 0; right",
        ),
        ("deadlock", {"table": "t", "every": -5, "remainder": 1, "pairs": 1}, "every is -5"),
        ("reject-rows", {"table": "t", "every": 1.5, "remainder": 1}, "every is 1.5"),
    ],
)
def test_impossible_parameters_are_refused(
    name: str, parameters: dict[str, str | int | float], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        choose(name, parameters)

"""Faults that are silently prevented must not look like faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from harness import faults
from harness.errors import FaultError
from harness.facts import FaultRecord
from harness.faults import sigkill
from harness.judge import _fault_doubts
from harness.ledger.records import INTENT, OUTCOME, Told
from harness.ledger.times import Times
from harness.model import Evidence
from harness.plugins import load, names_in
from harness.site import Endpoint, Exit, Incarnation, Sample

KILLED_NS, BACK_NS = 1_000, 2_000


def _sample(at_ns: int, *, ok: bool, boot: str = "") -> Sample:
    return Sample(at_ns, at_ns + 1, ok, queue_length=1, in_flight=1, boot_id=boot)


@dataclass
class FakeProbe:
    seen: list[Sample]
    after: Sample | None

    def samples(self) -> Sequence[Sample]:
        return self.seen

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        del wanted, timeout_s
        return self.after


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

    def incarnation(self) -> Incarnation:
        return self.lives[0]

    def kill(self) -> Exit:
        return self.ended

    def start(self) -> Incarnation:
        return self.lives[1]


def _evidence(site: FakeSite) -> list[Evidence]:
    fault = sigkill.build({})
    return [*fault.inject(site), *fault.heal(site)]


def _doubts(evidence: list[Evidence]) -> list[str]:
    intents = np.zeros(1, INTENT)
    intents["sent_ns"] = 1_200
    record = FaultRecord(
        fault="sigkill", injected_ns=KILLED_NS, healed_ns=BACK_NS, evidence=evidence
    )
    return _fault_doubts(record, Times.of(Told(intents, np.zeros(0, OUTCOME))))


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
    assert sigkill.build({}).heal(FakeSite()) == []


@pytest.mark.parametrize("name", names_in(faults))
def test_each_fault_refuses_parameters_that_it_does_not_know(name: str) -> None:
    with pytest.raises(FaultError, match="takes"):
        load(faults, name, "fault").build({"nonsense": 1})


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("proxy-down", {"servers": "mysql"}, "server 'mysql' is none of"),
        ("latency", {}, "latency_ms is None; right is 1 to 60000"),
        ("latency", {"latency_ms": 0}, "latency_ms is 0"),
        ("latency", {"latency_ms": "much"}, "latency_ms is 'much'"),
        ("latency", {"latency_ms": 5, "servers": ""}, "takes servers"),
        ("full-queue", {"length": 10}, "takes length and within_s, got length"),
        ("full-queue", {"length": 0, "within_s": 1}, "length is 0"),
        ("full-queue", {"length": 1, "within_s": 0}, "within_s is 0"),
        ("disk-full", {"servers": "mysql"}, "server 'mysql' is none of"),
        (
            "deadlock",
            {"table": "t", "every": 5, "remainder": 5, "pairs": 1},
            "remainder 5 is never left by a division by 5",
        ),
        ("deadlock", {"table": "t", "every": 5, "remainder": 1, "pairs": 0}, "pairs is 0"),
        ("deadlock", {"table": "t", "every": -5, "remainder": 1, "pairs": 1}, "every is -5"),
    ],
)
def test_impossible_parameters_are_refused(
    name: str, parameters: dict[str, str | int | float], said: str
) -> None:
    with pytest.raises(FaultError, match=said):
        load(faults, name, "fault").build(parameters)

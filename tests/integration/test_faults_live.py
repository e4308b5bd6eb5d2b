"""Every fault that a runtime offers, on real processes and containers, with its evidence."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import pytest

from harness.catalogue import Catalogue
from harness.conduct import build_fault
from harness.experiment import PlannedFault, Trigger
from tests.sites import Up, runtime_named, up_on

DOCKER = ("docker",)
BOTH = ("local", "docker")
FAULTS: list[tuple[str, dict[str, str | int | float], tuple[str, ...]]] = [
    ("sigkill", {}, BOTH),
    ("sigkill", {"by": "host"}, DOCKER),
    ("sigkill", {"by": "host", "restart": "policy"}, DOCKER),
    ("stop", {"grace_s": 0}, BOTH),
    ("stop", {"grace_s": 0.5}, BOTH),
    ("stop", {"grace_s": 10}, BOTH),
    ("stop", {"grace_s": 4, "pre_stop_s": 1}, BOTH),
    ("pause", {}, BOTH),
    ("disconnect", {}, DOCKER),
    ("replace", {"grace_s": 5}, BOTH),
]
CASES = [
    pytest.param(
        where, name, parameters, id="-".join([where, name, *map(str, parameters.values())])
    )
    for name, parameters, runtimes in FAULTS
    for where in runtimes
]


def _overfill(up: Up) -> threading.Thread:
    """Send the target 40 MiB in half a second's time."""
    event = '{"producer": 0, "sequence": %d, "payload": "' + "x" * 2**20 + '"}'
    body = "[" + ",".join(event % sequence for sequence in range(40)) + "]"

    def fill() -> None:
        time.sleep(0.5)
        with suppress(OSError, HTTPException):
            urllib.request.urlopen(f"{up.site.base_url}/events", body.encode(), timeout=10).close()

    thread = threading.Thread(target=fill)
    thread.start()
    return thread


@pytest.mark.parametrize(("where", "name", "parameters"), CASES)
def test_a_fault_proves_itself_and_heals(
    where: str, name: str, parameters: dict[str, str | int | float], tmp_path: Path
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    fault = build_fault(PlannedFault(name, Trigger(), parameters=parameters))
    assert set(fault.needs) <= runtime.capabilities(target)
    with up_on(runtime, tmp_path, target) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        evidence = fault.inject(up.site)
        time.sleep(0.3)
        evidence += fault.heal(up.site)
        assert up.probe.wait_for(lambda sample: sample.ok, 10) is not None
        up.site.check()
    assert all(each.holds for each in evidence), evidence
    assert len({each.source for each in evidence}) >= 2
    assert ("engine-events" in {each.source for each in evidence}) == (where == "docker")


@dataclass(frozen=True, slots=True)
class Wide:
    """A fault beyond the target's own process, and the site that it needs."""

    fault: str
    target: str = "redis"
    disks: frozenset[str] = frozenset()
    instances: int = 1
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


WIDE = (
    Wide("panic", "channel", settings={"DISPATCHER_PANIC_ENDPOINT": "true"}),
    Wide("server-kill"),
    Wide("partition"),
    Wide("power-loss", disks=frozenset({"postgres", "redis"})),
    Wide("rollout", "channel", instances=2, parameters={"grace_s": 5}),
)


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize("wide", WIDE, ids=lambda wide: wide.fault)
def test_a_fault_of_servers_and_instances_proves_itself_and_heals(
    where: str, wide: Wide, tmp_path: Path
) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target(wide.target)
    fault = build_fault(PlannedFault(wide.fault, Trigger(), parameters=wide.parameters))
    if lacking := set(fault.needs) - runtime.capabilities(target):
        pytest.skip(f"runtime {where} offers no {', '.join(each.__name__ for each in lacking)}")
    with up_on(
        *(runtime, tmp_path, target),
        disks=wide.disks,
        instances=wide.instances,
        **wide.settings,
    ) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        evidence = fault.inject(up.site)
        time.sleep(1.5)
        evidence += fault.heal(up.site)
        assert up.probe.wait_for(lambda sample: sample.ok, 20) is not None
        up.site.check()
    assert all(each.holds for each in evidence), evidence
    assert len({each.source for each in evidence}) >= 2


@pytest.mark.parametrize("where", BOTH)
def test_a_backlog_in_memory_is_ended_by_the_kernel(where: str, tmp_path: Path) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    fault = build_fault(PlannedFault("oom", Trigger(), parameters={"headroom_mib": 4}))
    with up_on(runtime, tmp_path, target) as up:
        filler = _overfill(up)
        evidence = fault.inject(up.site)
        filler.join()
        evidence += fault.heal(up.site)
        up.site.check()
    assert all(each.holds for each in evidence), evidence
    values = {each.source: each.value for each in evidence}
    assert "kernel-oom-count" in values
    assert "process-table" in values


@pytest.mark.parametrize("where", BOTH)
def test_enough_memory_is_a_limit_survived(where: str, tmp_path: Path) -> None:
    runtime, target = runtime_named(where), Catalogue.here().target("channel")
    parameters: dict[str, str | int | float] = {"headroom_mib": 256, "within_s": 1}
    fault = build_fault(PlannedFault("oom", Trigger(), parameters=parameters))
    with up_on(runtime, tmp_path, target) as up:
        evidence = fault.inject(up.site) + fault.heal(up.site)
        up.site.check()
    assert all(each.holds for each in evidence), evidence
    assert any("it lived" in each.claim for each in evidence)

"""What only a cluster does, on the one that `make kubernetes` starts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.catalogue import Catalogue
from harness.conduct import build_fault
from harness.experiment import PlannedFault, Trigger
from harness.ownership import Owner
from harness.runtime import Runtime
from harness.runtimes import _kube_access as access
from harness.runtimes import _kube_manifests as manifests
from harness.runtimes._kube_space import owned, this_machine
from tests.integration.conftest import Running, harness, left_behind, loading, until
from tests.sites import runtime_named, up_on

RUN = ("run", "crash", "--target", "channel", "--variant", "full", "--runtime", "kubernetes")
STRANGER = "stranger-to-lossmeter"


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return runtime_named("kubernetes")


@pytest.mark.parametrize(
    ("fault", "parameters", "instances"),
    [
        ("sigkill", {}, 1),
        ("sigkill", {"by": "host", "restart": "policy"}, 1),
        ("stop", {"grace_s": 10}, 1),
        ("pod-delete", {"grace_s": 1}, 1),
        ("pod-delete", {"grace_s": 10}, 1),
        ("evict", {}, 1),
        ("node-drain", {}, 1),
        ("rollout", {"grace_s": 10, "pre_stop_s": 1}, 2),
        ("scale-down", {"to": 1}, 2),
    ],
)
def test_each_fault_of_pods_brings_its_evidence(
    runtime: Runtime,
    tmp_path: Path,
    fault: str,
    parameters: dict[str, str | int | float],
    instances: int,
) -> None:
    target = Catalogue.here().target("channel")
    planned = PlannedFault(fault, Trigger(), parameters=parameters)
    pre_stop_s = float(parameters.get("pre_stop_s", 0))
    with up_on(
        runtime, tmp_path, target, instances=instances, grace_s=10, pre_stop_s=pre_stop_s
    ) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        built = build_fault(planned)
        assert set(built.needs) <= runtime.capabilities(target)
        evidence = [*built.inject(up.site), *built.heal(up.site)]
        up.site.check()
    assert [each for each in evidence if not each.holds] == []
    sources = {each.source for each in evidence}
    assert {"container-status", "orchestrator"} <= sources
    assert len(sources) >= 3


@pytest.fixture
def strangers() -> Iterator[list[str]]:
    """Namespaces that are none of this machine's: of somebody else, and of another harness."""
    api = access.core()
    elsewhere = Owner("run", 1, 1, "another-boot.1")
    bodies: list[dict[str, Any]] = [
        {"metadata": {"name": STRANGER}},
        manifests.namespace(f"{STRANGER}-machine", elsewhere, "another machine"),
    ]
    for body in bodies:
        api.create_namespace(body)
        api.create_namespaced_config_map(
            body["metadata"]["name"], {"metadata": {"name": "kept"}, "data": {"a": "b"}}
        )
    names = [str(body["metadata"]["name"]) for body in bodies]
    yield names
    for name in names:
        api.delete_namespace(name)


@pytest.mark.usefixtures("project", "runtime")
def test_recover_removes_the_namespace_of_a_killed_harness_and_no_other(
    strangers: list[str], background: Callable[..., Running]
) -> None:
    killed = background(*RUN)
    until(lambda: bool(killed.named("locust")), 120)
    killed.send(signal.SIGKILL)
    killed.end()
    left = [name for name, owner in owned().items() if owner.pid == killed.popen.pid]
    assert len(left) == 1, "the test needs something to recover"

    done = harness("recover")

    assert done.code == 0
    assert f"namespace {left[0]}" in done.out
    assert left[0] not in owned()
    assert left_behind(killed.popen.pid) == []
    for name in strangers:
        assert access.core().read_namespaced_config_map("kept", name).data == {"a": "b"}


@pytest.mark.usefixtures("runtime")
def test_an_interrupt_removes_the_namespace(
    project: Path, background: Callable[..., Running]
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"), 120)
    running.send(signal.SIGINT)
    assert running.end().code == 2
    assert [owner for owner in owned().values() if owner.pid == running.popen.pid] == []


@pytest.mark.usefixtures("runtime")
def test_what_a_run_uses_is_bounded_by_a_quota(runtime: Runtime, tmp_path: Path) -> None:
    with up_on(runtime, tmp_path, Catalogue.here().target("channel")):
        (name,) = [n for n, owner in owned().items() if owner.alive() and "contract" in n]
        (quota,) = access.core().list_namespaced_resource_quota(name).items
        assert int(quota.status.used["pods"]) == 3
        assert {"pods", "limits.memory", "services.nodeports"} == set(quota.spec.hard)
    assert this_machine()

"""What only a cluster does, on the one that `make kubernetes` starts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.catalogue import Catalogue
from harness.conduct import build_fault
from harness.experiment import PlannedFault, Trigger
from harness.ownership import Owner, this_boot
from harness.runtime import Runtime
from harness.runtimes import _kube_access as access
from harness.runtimes import _kube_manifests as manifests
from harness.runtimes._kube_images import NodeImages
from harness.runtimes._kube_space import owned, this_machine
from harness.services import discover
from harness.site import Killable, PodRemovable, Rolling, Stoppable
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
    assert "orchestrator" in sources
    # Who kills behind the cluster's back does not ask it for the exit code.
    assert ("container-status" in sources) == (parameters.get("by") != "host")
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


@pytest.fixture
def elsewhere(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """The same cluster, whose node no longer says that it is this machine."""
    node = access.core().list_node().items[0].metadata.name

    def label(value: str | None) -> None:
        access.core().patch_node(node, {"metadata": {"labels": {access.HERE_LABEL: value}}})
        access._here.cache_clear()

    images = NodeImages(lambda _: None)
    services = discover()
    for name in ("postgres", "toxiproxy"):
        variable = f"LOSSMETER_IMAGE_{name.upper()}"
        monkeypatch.setenv(variable, images.server(services[name]))
    monkeypatch.setenv("TEST_IMAGE", images.target(Catalogue.here().target("channel")))
    monkeypatch.setenv(access.NODE_VARIABLE, "127.0.0.1")
    images.close()
    label(None)
    yield runtime
    label(this_boot())


def test_a_cluster_elsewhere_runs_targets_that_mark_no_stages_and_kills_no_process(
    elsewhere: Runtime, tmp_path: Path
) -> None:
    channel = Catalogue.here().target("channel")
    assert channel.container is not None
    assert "marks stages in files" in str(elsewhere.refuses(channel))
    container = channel.container.model_copy(
        update={"build": None, "image": os.environ["TEST_IMAGE"]}
    )
    target = channel.model_copy(update={"stages": False, "container": container})
    assert elsewhere.refuses(target) is None
    assert Killable not in elsewhere.capabilities(target)
    assert {Stoppable, PodRemovable, Rolling} <= elsewhere.capabilities(target)
    with up_on(elsewhere, tmp_path, target, grace_s=10) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        for fault, parameters in (("pod-delete", {"grace_s": 10}), ("stop", {"grace_s": 10})):
            built = build_fault(PlannedFault(fault, Trigger(), parameters=parameters))
            evidence = [*built.inject(up.site), *built.heal(up.site)]
            assert [each for each in evidence if not each.holds] == []
            assert "container-id" in {each.source for each in evidence}
            up.site.check()


@pytest.mark.usefixtures("runtime")
def test_what_a_run_uses_is_bounded_by_a_quota(runtime: Runtime, tmp_path: Path) -> None:
    with up_on(runtime, tmp_path, Catalogue.here().target("channel")):
        (name,) = [n for n, owner in owned().items() if owner.alive() and "contract" in n]
        (quota,) = access.core().list_namespaced_resource_quota(name).items
        assert int(quota.status.used["pods"]) == 3
        assert {"pods", "limits.memory", "services.nodeports"} == set(quota.spec.hard)
    assert this_machine()

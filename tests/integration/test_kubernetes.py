"""What only a cluster does, on the one that `make kubernetes` starts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from lossmeter.experiment import PlannedFault, Trigger
from lossmeter.faults._fault import choose
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.ownership import Owner, this_boot
from lossmeter.world.runtime import Runtime
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes import _kube_manifests as manifests
from lossmeter.world.runtimes._kube_images import _CTR, NodeImages
from lossmeter.world.runtimes._kube_space import owned, this_machine
from lossmeter.world.services import discover
from lossmeter.world.site import Killable, PodRemovable, Rolling, Stoppable
from tests.support.program import Running, left_behind, loading, lossmeter, until
from tests.support.sites import Shared, runtime_named, up_on

RUN = ("run", "crash", "--target", "channel", "--variant", "full", "--runtime", "kubernetes")
STRANGER = "stranger-to-lossmeter"


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return runtime_named("kubernetes")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(lambda: tmp_path_factory.mktemp("site"))
    yield shared
    shared.close()


def planned(fault: str, **parameters: str | float) -> PlannedFault:
    return PlannedFault(fault, Trigger(), parameters=parameters)


@pytest.mark.parametrize(
    ("name", "fault", "instances"),
    [
        # A kubelet makes who is killed twice wait, so another pod comes in between.
        ("channel", planned("sigkill"), 1),
        ("channel", planned("stop", grace_s=10), 1),
        ("channel", planned("sigkill", by="host", restart="policy"), 1),
        ("channel", planned("pod-delete", grace_s=1), 1),
        ("channel", planned("pod-delete", grace_s=10), 1),
        ("channel", planned("evict"), 1),
        ("channel", planned("node-drain"), 1),
        ("channel", planned("rollout", grace_s=10, pre_stop_s=1), 2),
        ("channel", planned("scale-down", to=1), 2),
        # The pod in another one's place has its name here.
        ("redis", planned("stop", grace_s=10), 1),
        ("redis", planned("pod-delete", grace_s=10), 1),
        ("redis", planned("scale-down", to=1), 2),
        ("kafka", planned("rollout", grace_s=10), 2),
    ],
)
def test_each_fault_of_pods_brings_its_evidence(
    runtime: Runtime,
    shared: Shared,
    name: str,
    fault: PlannedFault,
    instances: int,
) -> None:
    target = Catalogue.here().target(name)
    pre_stop_s = float(fault.parameters.get("pre_stop_s", 0))
    up = shared.up(runtime, target, instances=instances, grace_s=10, pre_stop_s=pre_stop_s)
    assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
    built = choose(fault.fault, fault.parameters).build()
    assert set(built.needs) <= runtime.capabilities(target)
    evidence = [*built.inject(up.site), *built.heal(up.site)]
    up.site.check()
    # Who takes the place of another has what it had, or would wait for its session to end.
    assert up.probe.wait_for(lambda sample: sample.queue_length is not None, 3) is not None
    assert [each for each in evidence if not each.holds] == []
    sources = {each.source for each in evidence}
    assert "orchestrator" in sources
    # Who kills behind the cluster's back does not ask it for the exit code.
    assert ("container-status" in sources) == (fault.parameters.get("by") != "host")
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


@pytest.mark.alone
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

    done = lossmeter("recover")

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


def test_an_image_that_has_another_name_too_reaches_the_node_by_ours(runtime: Runtime) -> None:
    del runtime
    proxy = discover()["toxiproxy"]
    engine = docker.from_env()
    images = NodeImages(lambda _: None)
    name = images.server(proxy)
    ours = name.removeprefix("docker.io/")
    engine.images.get(ours).tag("a-name-of-somebody-else", "first")
    try:
        subprocess.run((*_CTR, "rm", name), check=True, capture_output=True)
        assert NodeImages(lambda _: None).server(proxy) == name
        listed = subprocess.run((*_CTR, "list", "-q"), check=True, capture_output=True, text=True)
        assert name in listed.stdout.split()
    finally:
        engine.images.remove("a-name-of-somebody-else:first", noprune=True)
        images.close()
        engine.close()


@pytest.fixture
def elsewhere(
    runtime: Runtime, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    """The same cluster, whose node no longer says that it is this machine."""
    shared.close()
    node = access.core().list_node().items[0].metadata.name

    def label(value: str | None) -> None:
        access.core().patch_node(node, {"metadata": {"labels": {access.HERE_LABEL: value}}})
        access._here.cache_clear()

    images, channel = NodeImages(lambda _: None), Catalogue.here().target("channel")
    services = discover()
    for name in ("postgres", "toxiproxy"):
        variable = f"LOSSMETER_IMAGE_{name.upper()}"
        monkeypatch.setenv(variable, images.server(services[name]))
    monkeypatch.setenv("TEST_IMAGE", images.process(channel, *channel.processes))
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
        for fault in (planned("pod-delete", grace_s=10), planned("stop", grace_s=10)):
            built = choose(fault.fault, fault.parameters).build()
            evidence = [*built.inject(up.site), *built.heal(up.site)]
            assert [each for each in evidence if not each.holds] == []
            assert "container-id" in {each.source for each in evidence}
            up.site.check()


def test_what_a_run_uses_is_bounded_by_a_quota(runtime: Runtime, shared: Shared) -> None:
    shared.up(runtime, Catalogue.here().target("channel"))
    (name,) = [n for n, owner in owned().items() if owner.pid == os.getpid() and "contract" in n]
    (quota,) = access.core().list_namespaced_resource_quota(name).items
    assert int(quota.status.used["pods"]) == 3
    bounded = {"pods", "limits.memory", "services.nodeports"}
    assert bounded | {"persistentvolumeclaims", "requests.storage"} == set(quota.spec.hard)
    assert this_machine()


@pytest.fixture
def storage(runtime: Runtime, tmp_path: Path) -> Iterator[str]:
    """A class of storage with one volume on this machine's disk."""
    del runtime
    name = "lossmeter-test"
    folder = tmp_path / "volume"
    folder.mkdir()
    # A volume of this kind is not given to the group that asks for it.
    folder.chmod(0o777)
    access.core().create_persistent_volume(
        {
            "metadata": {"name": name},
            "spec": {
                "storageClassName": name,
                "capacity": {"storage": "2Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(folder)},
            },
        }
    )
    yield name
    access.core().delete_persistent_volume(name)


def test_the_data_of_a_server_is_on_a_volume_of_the_class_that_is_asked_for(
    runtime: Runtime, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSMETER_KUBE_STORAGE_CLASS", storage)
    with up_on(runtime, tmp_path, Catalogue.here().target("channel")) as up:
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
        volume = access.core().read_persistent_volume(storage)
        assert volume.status.phase == "Bound"
        assert volume.spec.claim_ref.name == "data-postgres-0"
        assert list((tmp_path / "volume").rglob("PG_VERSION"))
    assert access.core().read_persistent_volume(storage).status.phase == "Released"

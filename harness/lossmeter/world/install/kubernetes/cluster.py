"""Bringing the cluster up and taking it down, as a story."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.world.install.cache import VARIABLE, cache_root
from lossmeter.world.install.kubernetes import machine, pause_image, traces
from lossmeter.world.install.kubernetes.configuration import NODE, Layout, Ports
from lossmeter.world.install.kubernetes.processes import Processes, end_shims
from lossmeter.world.install.kubernetes.programs import programs, version
from lossmeter.world.install.kubernetes.words import say
from lossmeter.world.isolation import environment
from lossmeter.world.ports import free_ports
from lossmeter.world.programs import last_lines
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.waiting import wait_for

READY_S = 90.0
POLL_S = 0.1
PODS_GONE_S = 30.0
ENGINE = "containerd"
PARTS = (
    *("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager"),
    *("kube-apiserver", "etcd"),
)


@contextmanager
def alone() -> Iterator[None]:
    """Keep another bring-up or take-down of this machine waiting."""
    locks = cache_root() / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = (locks / "kubernetes-cluster").open("a")
    except OSError as error:
        raise UnavailableError(
            f"{error.filename} cannot be written; name another folder in {VARIABLE}"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def bring_up() -> None:
    """Build, start and wait for a cluster, unless it is there.

    1. See that the machine can. 2. Bring the programs. 3. Lay what the parts stand on.
    4. containerd and etcd, the API server, the rest. 5. Wait until the node is ready.

    Raises:
        CacheError: something could not be built.
        UnavailableError: the machine cannot, or a part did not come up.
    """
    begin = time.monotonic()
    machine.check()
    folder = access.own_folder()
    processes = Processes(folder)
    if folder.exists():
        if len(processes.running()) == len(PARTS) + 1:
            say(f"the cluster runs already; its kubeconfig is {access.own_config()}")
            return
        say("a cluster was left half-way; it is removed first")
        take_down()
    plugins = machine.bring_packages()
    traces.check_unused()
    built = programs()
    begun = time.monotonic()
    folder.mkdir(parents=True, mode=0o755)
    try:
        _start(Layout(folder, plugins, built, Ports(*free_ports(6))), processes)
    except UnavailableError:
        for name in processes.ended():
            say(f"{name} ended; its log says: {last_lines(processes.log(name))}")
        kept = _keep_logs(folder)
        take_down()
        say(f"all logs are in {kept}")
        raise
    say(
        f"Kubernetes {version()} is ready after {time.monotonic() - begun:.1f} s "
        f"({time.monotonic() - begin:.1f} s in all); its kubeconfig is {access.own_config()}, "
        f"its context {access.OWN_CONTEXT}"
    )


def _start(layout: Layout, processes: Processes) -> None:
    traces.lay(layout.folder)
    layout.certificates.mkdir(mode=0o700)
    machine.run(str(layout.programs / "kubernetes"), "certificates", str(layout.certificates))
    layout.write()
    given = environment()
    say("starting containerd and etcd")
    processes.start(layout.engine(), given)
    processes.start(layout.part("etcd"), given)
    _wait("containerd", processes, lambda: machine.attempt(*_ctr("version"))[0] == 0)
    _import_pause(layout)
    say("starting the API server")
    processes.start(layout.part("kube-apiserver"), given)
    _wait("kube-apiserver", processes, _api_ready)
    say("starting controllers, scheduler, kubelet and proxy")
    for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
        processes.start(layout.part(name), given)
    _wait("kubelet", processes, _node_ready)


def _import_pause(layout: Layout) -> None:
    archive = layout.folder / "pause.tar"
    pause_image.write(layout.programs / "pause", archive)
    machine.run(*_ctr("images", "import", str(archive)))
    archive.unlink()


def _ctr(*words: str) -> tuple[str, ...]:
    return ("ctr", "--address", str(access.SOCKET), "--namespace", "k8s.io", *words)


def _wait(name: str, processes: Processes, ready: Callable[[], bool]) -> None:
    def ready_or_dead() -> bool:
        if ready():
            return True
        if dead := processes.ended():
            raise UnavailableError(f"{', '.join(dead)} ended while {name} was waited for")
        return False

    if not wait_for(ready_or_dead, READY_S, POLL_S):
        said = last_lines(processes.log(name))
        raise UnavailableError(f"{name} was not ready within {READY_S:g} s: {said}")


def _api_ready() -> bool:
    """Return whether it answers, and has made what it makes at its first start."""
    api = access.core(access.own_config(), access.OWN_CONTEXT)
    try:
        api.read_namespace("default", _request_timeout=access.ANSWER_S)
    except Exception:  # noqa: BLE001 - whatever it is, it is not ready
        return False
    return True


def _node_ready() -> bool:
    api = access.core(access.own_config(), access.OWN_CONTEXT)
    try:
        node = api.read_node(NODE, _request_timeout=access.ANSWER_S)
    except Exception:  # noqa: BLE001 - whatever it is, it is not ready
        return False
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions or [])


def take_down() -> None:
    """End every part and remove every trace.

    Raises:
        UnavailableError: something is left that could not be removed.
    """
    folder = access.own_folder()
    if not folder.exists():
        say("no cluster of this installation is here")
        return
    machine.check()
    begin = time.monotonic()
    processes = Processes(folder)
    if {"kubelet", "kube-apiserver", "etcd"} <= set(processes.running()):
        _remove_pods()
    processes.end(*PARTS)
    # Before containerd, which would tell nobody of it any more.
    end_shims(access.SOCKET)
    processes.end(ENGINE)
    end_shims(access.SOCKET)
    if left := traces.sweep(folder):
        raise UnavailableError("not removed: " + "; ".join(left))
    say(f"the cluster and all its traces are removed after {time.monotonic() - begin:.1f} s")


def _remove_pods() -> None:
    """Let the kubelet itself take down what runs: networks, mounts, control groups."""
    api = access.core(access.own_config(), access.OWN_CONTEXT)

    def gone() -> bool:
        for pod in (pods := api.list_pod_for_all_namespaces().items):
            api.delete_namespaced_pod(
                pod.metadata.name, pod.metadata.namespace, grace_period_seconds=1
            )
        return not pods

    try:
        for space in api.list_namespace().items:
            if space.metadata.name not in _STANDARD:
                api.delete_namespace(space.metadata.name)
        wait_for(gone, PODS_GONE_S, 0.5)
    except Exception as error:  # noqa: BLE001 - what it leaves is swept away below
        say(f"pods could not be removed in an orderly way: {type(error).__name__}")


_STANDARD = {"default", "kube-system", "kube-public", "kube-node-lease"}


def _keep_logs(folder: Path) -> Path:
    kept = folder.with_name("kubernetes-cluster-logs")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder / "logs", kept, dirs_exist_ok=True)
    return kept

"""Looks at a machine from outside lossmeter, to see what a run left on it.

Nothing here asks lossmeter, or looks for its marks: processes are those that descend from this
one (orphans come back to it, for it is a subreaper), and everything else is what was not there
before.
"""

from __future__ import annotations

import ctypes
import fnmatch
import os
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import psutil
from kubernetes import client, config

from lossmeter.world.install.cache import cache_root

_SET_CHILD_SUBREAPER = 36
# What Python's tempfile and pytest make in /tmp is not a run's: a run is given a TMPDIR.
_OTHERS_IN_TMP = ("tmp????????", "pytest-of-*", "*.lock")
# A folder of the virtual machine of Java, one for each user, that stays by design.
_STAYS = ("hsperfdata_*",)
_FOLDERS = (Path("/tmp"), Path("/dev/shm"), Path("/run"), Path("/var/run/netns"))
_CGROUPS = Path("/sys/fs/cgroup")
# Of a cluster that was there before: a kubelet makes these with the first pod, and keeps them.
_KUBELETS = frozenset({"kubepods", "burstable", "besteffort"})


def become_subreaper() -> None:
    """Have processes whose parents die become children of this process, not of init."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


# Children that somebody else waits for, who is to get their exit codes.
WAITED_FOR: set[int] = set()


def reap() -> None:
    """Collect children that have ended and that nobody waits for."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid not in WAITED_FOR and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def descendants() -> list[psutil.Process]:
    """Return all living processes that descend from this one."""
    reap()
    living = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


@dataclass(frozen=True, slots=True)
class Look:
    """What was there at a moment: names by kind."""

    found: Mapping[str, frozenset[str]]

    @classmethod
    def now(cls, among: Collection[str], *, kubernetes: bool = False) -> Look:
        """Look at the kinds that are named."""
        kinds = {kind: look for kind, look in _KINDS.items() if kind in among}
        if kubernetes:
            kinds["cluster"] = _cluster
        return cls({kind: frozenset(look()) for kind, look in kinds.items()})

    def left_since(self, before: Look) -> list[str]:
        """Return what is there now and was not there before."""
        return [
            f"{kind}: {name}"
            for kind, names in self.found.items()
            for name in sorted(names - before.found.get(kind, frozenset()))
        ]


def _processes() -> Iterator[str]:
    for process in descendants():
        with suppress(psutil.NoSuchProcess):
            yield f"{process.pid} started {process.create_time()}: {' '.join(process.cmdline())}"


def _ports() -> Iterator[str]:
    """Yield where our processes listen."""
    ours = {process.pid for process in descendants()}
    yield from (f"{each.laddr} of {name}" for each, name in _listening() if each.pid in ours)


def _forwarded_ports() -> Iterator[str]:
    """Yield where something listens for Docker, or what nobody of this machine's owns."""
    others = {"nobody", "docker-proxy"}
    yield from (f"{each.laddr} of {name}" for each, name in _listening() if name in others)


def _listening() -> Iterator[tuple[Any, str]]:
    for each in psutil.net_connections("inet"):
        if each.status == psutil.CONN_LISTEN:
            with suppress(psutil.NoSuchProcess):
                yield each, psutil.Process(each.pid).name() if each.pid else "nobody"


def _mounts() -> Iterator[str]:
    yield from Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()


def _loop_devices() -> Iterator[str]:
    """Yield loop devices but those on files that only others see, who have mounts of their own."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            file = backing.read_text().strip()
            if file.endswith("(deleted)") or Path(file).exists():
                yield f"{backing.parts[3]} on {file}"


def _cgroups() -> Iterator[str]:
    for folder, _, _ in os.walk(_CGROUPS):
        if Path(folder).name not in _KUBELETS:
            yield folder


def _interfaces() -> Iterator[str]:
    yield from (path.name for path in Path("/sys/class/net").iterdir())


def _shared_memory() -> Iterator[str]:
    """Yield System V segments and semaphores: the key and the id name one for ever."""
    for kind in ("shm", "sem", "msg"):
        lines = Path("/proc/sysvipc", kind).read_text(encoding="ascii").splitlines()[1:]
        for line in lines:
            key, number, *_ = line.split()
            yield f"{kind} {number} with key {key}"


def _rules() -> Iterator[str]:
    """Yield the packet filter's rules, without their counters."""
    for program in ("iptables-save", "ip6tables-save"):
        with suppress(FileNotFoundError):
            done = subprocess.run([program], capture_output=True, text=True, check=False)
            lines = done.stdout.splitlines()
            yield from (f"{program} {x.split(' [')[0]}" for x in lines if x[:1] in {"-", ":"})


def _files() -> Iterator[str]:
    for folder in _FOLDERS:
        if folder.is_dir():
            for path in folder.iterdir():
                ignored = (*_OTHERS_IN_TMP, *_STAYS)
                if not any(fnmatch.fnmatch(path.name, each) for each in ignored):
                    yield str(path)
    for java in Path("/tmp").glob("hsperfdata_*/*"):
        if not psutil.pid_exists(int(java.name)) if java.name.isdigit() else True:
            yield str(java)


def _cache() -> Iterator[str]:
    """Yield the entries of the cache, and what runs keep below its state folder."""
    root = cache_root()
    yield from (str(path) for path in root.glob("*") if path.name != ".locks")
    yield from (str(path) for path in root.glob(".*~*"))
    yield from (str(path) for path in root.glob("state/*/*"))


def _containers() -> Iterator[str]:
    try:
        engine = docker.from_env()
    except docker.errors.DockerException:
        return
    try:
        for container in engine.api.containers(all=True):
            yield f"container {container['Id'][:12]} {container['Names']}"
        for network in engine.api.networks():
            yield f"network {network['Id'][:12]} {network['Name']}"
        for volume in engine.api.volumes()["Volumes"] or []:
            yield f"volume {volume['Name']}"
    finally:
        engine.close()


def kubeconfig() -> Path:
    """Return the kubeconfig of the cluster that the project brings."""
    return cache_root() / "kubernetes-cluster" / "kubeconfig"


def _cluster() -> Iterator[str]:
    """Yield namespaces, volumes and cluster-wide rights, and nodes that take no pods."""
    if not kubeconfig().is_file():
        return
    with config.new_client_from_config(str(kubeconfig())) as api:
        core, rights = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
        yield from (f"namespace {each.metadata.name}" for each in core.list_namespace().items)
        yield from (f"volume {each.metadata.name}" for each in core.list_persistent_volume().items)
        roles = (rights.list_cluster_role, rights.list_cluster_role_binding)
        yield from (f"role {each.metadata.name}" for role in roles for each in role().items)
        for node in core.list_node().items:
            if node.spec.unschedulable or node.spec.taints:
                yield f"node {node.metadata.name} {node.spec.unschedulable} {node.spec.taints}"


_KINDS: Mapping[str, Callable[[], Iterator[str]]] = {
    "process": _processes,
    "port": _ports,
    "forwarded port": _forwarded_ports,
    "mount": _mounts,
    "loop device": _loop_devices,
    "cgroup": _cgroups,
    "interface": _interfaces,
    "shared memory": _shared_memory,
    "packet filter": _rules,
    "file": _files,
    "cache": _cache,
    "Docker": _containers,
}


EVERYTHING = tuple(_KINDS)


def below(folder: Path) -> Sequence[str]:
    """Return what lies in a folder that was empty, if it is there."""
    return [f"file: {path}" for path in sorted(folder.rglob("*"))] if folder.is_dir() else []

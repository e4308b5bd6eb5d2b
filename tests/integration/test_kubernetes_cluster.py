"""The cluster of one node comes up, and goes without a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lossmeter.world.install.kubernetes import machine
from lossmeter.world.install.kubernetes.configuration import CONTROL_GROUP, LINK, NETWORK, PODS
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes._disks import mounts
from tests.support.sites import runtime_named

pytestmark = pytest.mark.alone


def cluster(*words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "lossmeter.world.install.kubernetes", *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def traces() -> list[str]:
    """Return all that speaks of the cluster on this machine."""
    found = [str(m.point) for m in mounts() if access.own_folder() in m.point.parents]
    found += [str(m.point) for m in mounts() if access.RUN in m.point.parents]
    found += [str(root / CONTROL_GROUP) for root in machine.groups()]
    found += [f"/sys/class/net/{LINK}", str(access.own_folder()), str(access.RUN)]
    found = [path for path in found if Path(path).exists()]
    routes = machine.run("ip", "route").splitlines()
    found += [route for route in routes if NETWORK.partition(".0.0")[0] in route]
    for table in ("filter", "nat", "mangle"):
        said = machine.run("iptables", "-w", "-t", table, "-S").splitlines()
        found += [rule for rule in said if "KUBE-" in rule or PODS.rpartition(".")[0] in rule]
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(access.SOCKET) in words or any(str(access.own_folder()) in w for w in words):
            found.append(f"process {process.pid}: {' '.join(words[:2])}")
    return found


def test_it_is_there_then_gone_without_a_trace_and_comes_again() -> None:
    runtime = runtime_named("kubernetes")
    assert "the cluster runs already" in cluster().stderr
    assert traces()

    down = cluster("--down")

    assert down.returncode == 0, down.stderr
    assert traces() == []
    assert "lossmeter.world.install.kubernetes" in str(runtime.unavailable())

    up = cluster()

    assert up.returncode == 0, up.stderr
    assert "is ready after" in up.stderr
    assert runtime.unavailable() is None


def test_what_is_meant_for_a_pod_that_is_gone_does_not_leave_the_machine() -> None:
    runtime_named("kubernetes")
    for address in ("10.213.7.7", "10.213.130.1"):
        code, said = machine.attempt("ip", "route", "get", address)
        assert code != 0, said


def test_a_part_that_died_is_told_and_the_next_start_begins_anew() -> None:
    runtime = runtime_named("kubernetes")
    api = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "kube-apiserver" in (process.info["cmdline"] or [])
        and any(str(access.own_folder()) in word for word in process.info["cmdline"])
    ]
    assert len(api) == 1
    api[0].kill()
    psutil.wait_procs(api, timeout=5)
    said = str(runtime.unavailable())
    assert "does not answer" in said
    assert "lossmeter.world.install.kubernetes" in said

    up = cluster()

    assert up.returncode == 0, up.stderr
    assert "left half-way" in up.stderr
    assert runtime.unavailable() is None


@pytest.fixture(autouse=True)
def asked_for() -> None:
    runtime_named("kubernetes")

"""Tests side by side: which go to one worker, and which have the machine to themselves.

Most tests wait for servers, so two workers take them faster than one. What a test leaves for
``recover`` on purpose would be taken away by any run that begins meanwhile, and what it counts
for the whole machine, such as OOM kills, would count another's: such a test is marked ``alone``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

MACHINE = Path(__file__)
TURN = MACHINE.parents[1] / "conftest.py"
RUNTIMES = ("local", "docker", "kubernetes")
# Those that stop the cluster, or fill it; that use one installation; or the same servers.
TOGETHER = {
    "test_kubernetes_cluster": "test_kubernetes",
    "test_action": "test_installed",
    "test_runtime_processes": "test_runtimes",
    "test_ingress_faults": "test_ingresses",
    "test_store_servers": "test_stores",
    "test_store_faults": "test_stores",
    "test_pending_ids": "test_queue_lengths",
    "test_queue_faults": "test_queue_lengths",
}
# One set of servers in containers serves all that want some.
CONTAINERS = "containers"


def group_of(nodeid: str) -> str:
    """Return the name that a test shares with those that share its fixtures."""
    path, _, name = nodeid.partition("::")
    stem = Path(path).stem
    values = name.partition("[")[2].rstrip("]").split("-")
    if CONTAINERS in values:
        return CONTAINERS
    return "-".join([TOGETHER.get(stem, stem), *[v for v in values if v in RUNTIMES][:1]])


class _Groups(LoadScopeScheduling):
    """Gives all tests of a group to one worker: two would each set up what these share."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


# The mark xdist_group says nothing any more: xdist 3.8 sets what pytest 9.2 does not read.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _Groups(config, log)


@contextmanager
def _locked(file: IO[bytes], how: int) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    # Files that are there anyway, so that no lock is left behind.
    with TURN.open("rb") as turn, MACHINE.open("rb") as machine:
        # Who wants the machine alone keeps the turn, so that nobody else begins meanwhile.
        if item.get_closest_marker("alone") is not None:
            with _locked(turn, fcntl.LOCK_EX), _locked(machine, fcntl.LOCK_EX):
                return (yield)
        with _locked(turn, fcntl.LOCK_EX):
            fcntl.flock(machine, fcntl.LOCK_SH)
        with _locked(machine, fcntl.LOCK_SH):
            return (yield)

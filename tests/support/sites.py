"""Sites for tests: a real target with its real servers, on any runtime."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from lossmeter.errors import HarnessError
from lossmeter.plan.target import Target
from lossmeter.plugins import load
from lossmeter.run.admission import proxy_in
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.world import runtimes
from lossmeter.world.recovery import recover
from lossmeter.world.runtime import Order, RunningSite, Runtime
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.services import discover

SERVES_WITHIN_S = 2.0
RUN = f"contract-{os.getpid()}"
CI = "LOSSMETER_CI"


@dataclass(frozen=True, slots=True)
class Up:
    """A site that is up, with the probe that watches it."""

    site: RunningSite
    probe: HealthProbe
    folder: Path


def runtime_named(name: str) -> Runtime:
    """Return a runtime; in CI one that is not available fails, for a skip would hide it."""
    chosen: Runtime = load(runtimes, name, "runtime").RUNTIME
    why = chosen.unavailable()
    if why is not None and not os.environ.get(CI):
        pytest.skip(why)
    assert why is None, why
    return chosen


def assert_nothing_to_recover(runtime: Runtime) -> None:
    """Look for what these runs left; what somebody's killed run left is none of theirs."""
    assert [line for line in recover([runtime]) if RUN in line] == []


def on_engine(mark: str) -> list[str]:
    """Return the names of what there is on the Docker engine with this in its owner's mark."""
    client = docker.from_env()
    try:
        things = [
            *client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True),
            *client.networks.list(filters={"label": RUN_LABEL}),
            *client.volumes.list(filters={"label": RUN_LABEL}),
        ]
    finally:
        client.close()
    labels = [thing.attrs.get("Labels") or thing.attrs["Config"]["Labels"] for thing in things]
    return [
        str(thing.name) for thing, of in zip(things, labels, strict=True) if mark in of[RUN_LABEL]
    ]


class Shared:
    """A site that tests use in turn, brought up anew where one left it unfit for the next.

    Args:
        new_folder: makes a folder for each.
    """

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._key: object = None
        self._open = ExitStack()
        self._up: Up | None = None

    def up(self, runtime: Runtime, target: Target, **asked: float) -> Up:
        """Return the site, with a target that serves; ``asked`` is what ``up_on`` takes."""
        key = (runtime.name, target.name, sorted(asked.items()))
        if self._up is None or key != self._key or not _serves(self._up):
            self.close()
            begun = up_on(runtime, self._new_folder(), target, **asked)  # type: ignore[arg-type]
            self._up, self._key = self._open.enter_context(begun), key
        return self._up

    def close(self) -> None:
        """Take it down."""
        self._up = None
        self._open.close()


def _serves(up: Up) -> bool:
    try:
        up.site.check()
    except HarnessError:
        return False
    return up.probe.wait_for(lambda sample: sample.ok, SERVES_WITHIN_S) is not None


@contextmanager
def up_on(  # noqa: PLR0913 - what an order is made of
    runtime: Runtime,
    folder: Path,
    target: Target,
    *,
    disks: frozenset[str] = frozenset(),
    instances: int = 1,
    grace_s: float = 30.0,
    pre_stop_s: float = 0.0,
    pool: ServerPool | None = None,
    say: Callable[[str], None] | None = None,
    **settings: str,
) -> Iterator[Up]:
    """Bring up a target on a runtime, some of its servers on disks that can lose power.

    Servers on such disks are never of the pool, as in a run.
    """
    services = discover()
    probes: list[HealthProbe] = []

    def probe_for(base_url: str) -> HealthProbe:
        probes.append(HealthProbe(base_url, target.http, folder / "probe.jsonl"))
        return probes[0]

    order = Order(
        run_id=f"{RUN}-{time.time_ns()}",
        folder=folder,
        target=target,
        services=[services[name] for name in target.services],
        proxy=proxy_in(services) if target.proxied else None,
        settings={"DISPATCHER_HANDLER__TIME_S": "0.01", **settings},
        probe=probe_for,
        say=say or Silent().say,
        disks=disks,
        instances=instances,
        grace_s=grace_s,
        pre_stop_s=pre_stop_s,
        pool=None if disks else pool,
    )
    with runtime.open(order) as site:
        probes[0].watch(site.base_urls)
        with probes[0] as probe:
            yield Up(site, probe, folder)

"""Real servers, and targets with theirs, started as the local runtime starts them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lossmeter.commands._shared import runtime_named
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.http import Http
from lossmeter.plan.target import Target
from lossmeter.run.admission import proxy_in
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.world.runtime import Order, RunningSite
from lossmeter.world.runtimes._local_servers import LocalServers
from lossmeter.world.runtimes._server_set import lend
from lossmeter.world.services import discover


@contextmanager
def serving(*names: str) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Start servers and yield how each is reached; nothing is left of them afterwards."""
    target = Target.model_validate(
        {
            "name": "servers-only",
            "summary": "never started",
            "ack_level": "enqueued",
            "services": names,
            "start": {"command": ["never"]},
            "persisted": {"database": names[0], "query": "select 1"},
        }
    )
    with tempfile.TemporaryDirectory(prefix="lossmeter-bench-") as folder:
        order = _order(f"bench-{time.time_ns()}", target, Path(folder), {})
        with lend(order, "local", LocalServers) as servers:
            yield {name: servers.endpoints[name].direct for name in names}


@contextmanager
def dispatching(name: str, settings: Mapping[str, str]) -> Iterator[RunningSite]:
    """Start a target with its servers and yield its site once it takes events."""
    target = Catalogue.here().target(name)
    with tempfile.TemporaryDirectory(prefix="lossmeter-bench-") as folder:
        order = _order(f"bench-{time.time_ns()}", target, Path(folder), settings)
        with runtime_named("local").open(order) as site:
            yield site


def _order(run_id: str, target: Target, folder: Path, settings: Mapping[str, str]) -> Order:
    services = discover()
    for name in (*target.services, *(["toxiproxy"] if target.proxied else [])):
        services[name].install(Silent().say)
    return Order(
        run_id=run_id,
        folder=folder,
        target=target,
        services=[services[name] for name in target.services],
        proxy=proxy_in(services) if target.proxied else None,
        settings=dict(settings),
        probe=lambda url: HealthProbe(
            url, target.http if target.proxied else Http(), folder / "probe.jsonl"
        ),
        say=Silent().say,
    )

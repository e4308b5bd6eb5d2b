"""Real servers for a part of the bench, started as the local runtime starts them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.narrator import Silent
from harness.ownership import Owner
from harness.probe import HealthProbe
from harness.runtime import Order
from harness.runtimes._state import state_folder
from harness.runtimes.local import LocalSite
from harness.services import discover
from harness.services.toxiproxy import Proxies
from harness.target import Http, Target


@contextmanager
def serving(*names: str) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Start servers and yield how each is reached; nothing is left of them afterwards."""
    services = [discover()[name] for name in names]
    for service in services:
        service.install(Silent().say)
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
    owner = Owner.this_process("bench")
    folder = Path(tempfile.mkdtemp(prefix="lossmeter-bench-"))
    state = state_folder(owner, "local")
    order = Order(
        run_id=owner.run_id,
        folder=folder,
        target=target,
        services=services,
        proxy=None,
        proxy_control=Proxies,
        settings={},
        probe=lambda url: HealthProbe(url, Http(), folder / "probe.jsonl"),
        say=Silent().say,
    )
    site = LocalSite(order, owner, state)
    try:
        site.start_servers()
        yield {name: site.endpoints[name].direct for name in names}
    finally:
        site.close()
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)

"""Fixtures: real servers, brought up once a session as the local runtime brings them up.

A server that cannot start fails the tests that need it; it never skips them.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from harness.narrator import Silent
from harness.probe import HealthProbe
from harness.runtime import Order
from harness.runtimes._local_servers import LocalServers
from harness.runtimes._server_set import lend
from harness.services import discover
from harness.services.toxiproxy import Proxies
from harness.target import Http, Target

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is under nohup and in the background of a script; tests interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What the one who runs the tests passes to make is not for the commands that tests read.
for name in ("ARGS", "TARGET", "SEED", "RUNTIME", "MAKEFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server as tests see it."""

    address: str
    password: str
    username: str
    url: str


def _serve(name: str, folder: Path) -> Iterator[Server]:
    service = discover()[name]
    service.install(lambda _: None)
    target = Target.model_validate(
        {
            "name": "servers-only",
            "summary": "never started",
            "ack_level": "enqueued",
            "services": [name],
            "start": {"command": ["never"]},
            "persisted": {"database": name, "query": "select 1"},
        }
    )
    order = Order(
        run_id=f"test-{name}",
        folder=folder,
        target=target,
        services=[service],
        proxy=None,
        proxy_control=Proxies,
        settings={},
        probe=lambda url: HealthProbe(url, Http(), folder / "probe.jsonl"),
        say=Silent().say,
    )
    with lend(order, "local", LocalServers) as servers:
        direct = servers.endpoints[name].direct
        yield Server(
            direct["address"], direct["password"], direct.get("username", ""), direct.get("url", "")
        )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _serve("postgres", tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _serve("redis", tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _serve("kafka", tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own, with the shipped experiments and targets."""
    root = Path(__file__).resolve().parents[1]
    for name in ("experiments", "targets"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, tmp_path / name, ignore=ignore)
    monkeypatch.chdir(tmp_path)
    return tmp_path

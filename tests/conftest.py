"""Fixtures: real servers, brought up once a session as the local runtime brings them up.

A server that cannot start fails the tests that need it; it never skips them.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from lossmeter.world.server_pool import ServerPool
from tests.support.places import PLACES, PROCESSES, Place
from tests.support.servers import Server
from tests.support.turns import pytest_runtest_protocol, pytest_xdist_make_scheduler

__all__ = ["pytest_runtest_protocol", "pytest_xdist_make_scheduler"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is under nohup and in the background of a script; tests interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What the one who runs the tests passes to make is not for the commands that tests read.
for name in ("ARGS", "TARGET", "SEED", "RUNTIME", "JOBS", "MAKEFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """What gives the servers of a place, by its name."""
    places = {name: kind(tmp_path_factory.mktemp) for name, kind in PLACES.items()}
    with ExitStack() as stack:
        for place in places.values():
            stack.callback(place.close)
        yield places.__getitem__


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest, at: Callable[[str], Place]) -> Place:
    """Where servers run: for what is marked ``everywhere`` both as processes and in containers."""
    return at(getattr(request, "param", PROCESSES))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames and metafunc.definition.get_closest_marker("everywhere"):
        metafunc.parametrize("place", PLACES, indirect=True)


@pytest.fixture(scope="session")
def pool() -> Iterator[ServerPool]:
    """Keeps servers of one site for the next, emptied between: most sites are served alike."""
    with ServerPool() as pool:
        yield pool


@pytest.fixture(scope="session")
def postgres(place: Place) -> Server:
    return place("postgres")


@pytest.fixture(scope="session")
def redis(place: Place) -> Server:
    return place("redis")


@pytest.fixture(scope="session")
def kafka(place: Place) -> Server:
    return place("kafka")


@pytest.fixture(scope="session")
def mariadb(place: Place) -> Server:
    return place("mariadb")


@pytest.fixture(scope="session")
def rabbitmq(place: Place) -> Server:
    return place("rabbitmq")


@pytest.fixture(scope="session")
def webhook(place: Place) -> Server:
    return place("webhook")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own, with the shipped experiments and targets."""
    root = Path(__file__).resolve().parents[1]
    for name in ("experiments", "targets"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, tmp_path / name, ignore=ignore)
    monkeypatch.chdir(tmp_path)
    return tmp_path

"""Fixtures that integration tests share: programs in the background, and dispatchers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lossmeter.world.ports import free_port
from tests.support.dispatchers import Dispatcher, Start, is_ready
from tests.support.installed import built, environment_of
from tests.support.program import Running, until
from tests.support.servers import Server


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the package from the wheel, and this one's dependencies."""
    return environment_of(wheel, tmp_path_factory.mktemp("with space and ü") / "venv")


@pytest.fixture
def background() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.abandon()


@pytest.fixture
def notices(postgres: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to the database that dispatchers write to, without notices at first."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists notice; drop table if exists dead_letter")
        yield connection


@pytest.fixture
def start(
    postgres: Server, notices: psycopg.Connection[tuple[Any, ...]], tmp_path: Path
) -> Iterator[Start]:
    del notices
    started: list[Dispatcher] = []

    def start_one(**settings: str) -> Dispatcher:
        port = free_port()
        environment = {name: v for name, v in os.environ.items() if name[:11] != "DISPATCHER_"}
        environment |= {
            "DISPATCHER_PORT": str(port),
            "DISPATCHER_DATABASE__URL": postgres.url,
            **{f"DISPATCHER_{name}": value for name, value in settings.items()},
        }
        with (tmp_path / "dispatcher.log").open("ab") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", "lossmeter_dispatcher"], env=environment, stderr=log
            )
        started.append(Dispatcher(popen, f"http://127.0.0.1:{port}"))
        until(lambda: is_ready(started[-1]), 20)
        return started[-1]

    yield start_one
    for dispatcher in started:
        dispatcher.popen.kill()
        dispatcher.popen.wait()

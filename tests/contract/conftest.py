"""Fixtures that several contracts share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lossmeter.plugins import names_in
from lossmeter.world import runtimes
from lossmeter.world.runtime import Runtime
from tests.support.feeding import Feeding
from tests.support.places import Place
from tests.support.sites import runtime_named
from tests.support.store_kinds import EVERYWHERE, KINDS, SERVED
from tests.support.stores import Kafka, Written


@pytest.fixture
def feeding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Feeding:
    return Feeding(tmp_path, monkeypatch)


@pytest.fixture(params=EVERYWHERE)
def absent(request: pytest.FixtureRequest, tmp_path: Path, at: Callable[[str], Place]) -> Written:
    kind, _, place = request.param.partition("-")
    return SERVED[kind](tmp_path, at(place)) if place else KINDS[kind](tmp_path)


@pytest.fixture
def written(absent: Written) -> Written:
    """A store that is there, as far as it can be before it holds anything."""
    if isinstance(absent, Kafka):
        absent.create()
    return absent


@pytest.fixture(scope="module", params=names_in(runtimes))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """A runtime; in CI one that is not available fails, for a skip would hide it."""
    return runtime_named(request.param)

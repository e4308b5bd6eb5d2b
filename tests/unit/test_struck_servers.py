"""Which runs take no servers that served another: those whose fault strikes a server itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plugins import load
from lossmeter.run.admission import strikes_servers
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe
from lossmeter.run.set_up import Ask, order_of
from lossmeter.world.server_pool import ServerPool

STRIKING = {"broker-down", "db-disk-full", "power-loss"}


def every_cell() -> list[Cell]:
    catalogue = Catalogue.here()
    names = catalogue.experiment_names()
    return [cell for name in names for cell in cells(catalogue, catalogue.experiment(name), [], [])]


def test_faults_strike_servers_in_these_experiments_and_no_others() -> None:
    struck = {cell.experiment.name for cell in every_cell() if strikes_servers(cell)}
    assert struck == STRIKING


@pytest.mark.parametrize(("experiment", "keeps"), [("crash", True), ("broker-down", False)])
def test_they_are_ordered_without_the_shelf(tmp_path: Path, experiment: str, keeps: bool) -> None:
    from lossmeter.world import runtimes

    catalogue = Catalogue.here()
    cell = cells(catalogue, catalogue.experiment(experiment), ["redis"], [])[0]
    pool = ServerPool()
    runtime = load(runtimes, "local", "runtime").RUNTIME
    ask = Ask(cell, runtime, 1, tmp_path, Silent(), pool=pool)

    def probe(url: str) -> HealthProbe:
        return HealthProbe(url, cell.target.http, tmp_path / "probe.jsonl")

    order = order_of(ask, tmp_path, probe)
    assert order.pool is (pool if keeps else None)

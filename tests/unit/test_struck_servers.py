"""Which runs take no servers that served another: those whose fault strikes a server itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.admission import services_of, strikes_servers
from harness.catalogue import Catalogue, Cell, cells
from harness.narrator import Silent
from harness.plugins import load
from harness.run import Ask, _Story
from harness.shelf import Shelf

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
    from harness import runtimes

    catalogue = Catalogue.here()
    cell = cells(catalogue, catalogue.experiment(experiment), ["redis"], [])[0]
    shelf = Shelf()
    runtime = load(runtimes, "local", "runtime").RUNTIME
    ask = Ask(cell, runtime, 1, tmp_path, Silent(), shelf=shelf)
    order = _Story(ask, services_of(cell))._order()
    assert order.shelf is (shelf if keeps else None)

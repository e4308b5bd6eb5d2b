"""How many load processes, and from where: bad input is one sentence before anything starts."""

from __future__ import annotations

import pytest

from lossmeter.errors import UsageError
from lossmeter.model import Address
from lossmeter.plan.asked import with_load_processes
from lossmeter.plan.catalogue import Catalogue, Cell, cells

HERE, ELSEWHERE = Address("127.0.0.1", 5557), Address("10.0.0.1", 5557)


def _cell(experiment: str) -> Cell:
    catalogue = Catalogue.here()
    return cells(catalogue, catalogue.experiment(experiment), ["redis"], [])[0]


@pytest.mark.parametrize(
    "text", ["", "5557", ":5557", "10.0.0.1", "10.0.0.1:", "h:0", "h:x", "h:65536"]
)
def test_an_address_names_host_and_port(text: str) -> None:
    with pytest.raises(UsageError, match="is not an address of the form"):
        Address.parse(text)


def test_an_address_is_read_back() -> None:
    assert Address.parse("10.0.0.1:5557") == ELSEWHERE
    assert Address.parse(str(ELSEWHERE)) == ELSEWHERE


def test_a_load_is_spread_over_processes() -> None:
    load = with_load_processes(_cell("crash"), 3, HERE).variant.load
    assert (load.processes, load.listen) == (3, "127.0.0.1:5557")
    assert with_load_processes(_cell("crash"), 1, None).variant.load == _cell("crash").variant.load


@pytest.mark.parametrize("processes", [0, -1, 257])
def test_there_cannot_be_any_number_of_processes(processes: int) -> None:
    with pytest.raises(UsageError, match="are not within 1 to 256"):
        with_load_processes(_cell("crash"), processes, None)


def test_other_machines_must_reach_the_target() -> None:
    with pytest.raises(UsageError, match="cannot reach it"):
        with_load_processes(_cell("crash"), 2, ELSEWHERE)


def test_other_machines_cannot_follow_instances() -> None:
    with pytest.raises(UsageError, match="2 instances"):
        with_load_processes(_cell("rollout"), 2, HERE)

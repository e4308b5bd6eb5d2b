"""A fault that is silently prevented makes a run inconclusive, and never a pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter import faults
from lossmeter.faults import _children, memory_alarm
from lossmeter.model import Verdict
from lossmeter.plugins import names_in
from tests.support.prevented import PAGE, PREVENTIONS, Prevention, carry_out, cases, target
from tests.support.sites import Up, runtime_named, up_on


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One target for all: nothing that is prevented can hurt it."""
    folder = tmp_path_factory.mktemp("prevented")
    with up_on(runtime_named("local"), folder, target()) as site:
        assert site.probe.wait_for(lambda sample: sample.ok, 10) is not None
        yield site


@pytest.mark.parametrize("fault", names_in(faults))
def test_there_is_a_way_to_prevent_each_fault(fault: str) -> None:
    assert PREVENTIONS.get(fault), f"tests/prevented.py has no entry for fault {fault}"


@pytest.mark.parametrize(
    ("fault", "prevention"),
    [pytest.param(fault, each, id=f"{fault}: {each.how}") for fault, each in cases()],
)
def test_a_prevented_fault_makes_a_run_inconclusive(
    fault: str,
    prevention: Prevention,
    up: Up,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_children, "ENDS_WITHIN_S", 0.2)
    monkeypatch.setattr(_children, "ANOTHER_WITHIN_S", 0.2)
    monkeypatch.setattr(memory_alarm, "HEEDED_WITHIN_S", 0.2)
    result = carry_out(fault, prevention, up, tmp_path)
    assert result.verdict is Verdict.INCONCLUSIVE, result.reason
    assert f"evidence against fault {fault}" in result.reason


def test_the_page_shows_each_of_them() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| (.+?) \|.*\| (\w+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows.pop(0)[0] == "fault"
    assert [(fault, how) for fault, how, _ in rows] == [(f, p.how) for f, p in cases()]
    assert {verdict for _, _, verdict in rows} == {"inconclusive"}

"""Targets whose clock or time zone is another one, in whole runs that bound the recovery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.odd_project import run_short
from tests.support.program import Running

TOKYO = "PGOPTIONS = \"-c timezone=Asia/Tokyo\"\nCOLUMN = 'timestamp'"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('BEHIND = "1 hour"', "dated before the event was sent, by up to 3,600"),
        (TOKYO, "dated after the collection, by up to 32,"),
    ],
    ids=["an hour back", "in another zone"],
)
def test_no_recovery_is_believed_of_rows_whose_times_cannot_be_true(
    tmp_path: Path, settings: str, said: str
) -> None:
    arguments = run_short(tmp_path, settings=settings, kill=True)
    done = Running(*arguments, "--json", "-", folder=tmp_path).end(120)
    (result,) = done.results()
    assert (done.code, result["verdict"]) == (7, "inconclusive"), result["reason"]
    assert result["recovery_s"] is None
    assert "recovery_s_max is set, and recovery was never seen" in result["reason"]
    assert said in result["reason"]
    assert said in json.dumps(result["times_problem"])


def test_of_rows_whose_times_are_right_it_is_measured(tmp_path: Path) -> None:
    done = Running(*run_short(tmp_path, kill=True), "--json", "-", folder=tmp_path).end(120)
    (result,) = done.results()
    assert (done.code, result["verdict"]) == (0, "pass"), result["reason"]
    assert 0 < result["recovery_s"] < 30
    assert result["times_problem"] == ""

"""Names that one process of a machine speaks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lossmeter.run import set_up
from lossmeter.run.set_up import Ask, new_folder
from lossmeter.world.claims import Claims


def test_a_name_is_taken_once_until_its_holder_lets_go_or_ends() -> None:
    name = "test-claims " + "long " * 30
    script = (
        "import sys; from lossmeter.world.claims import Claims as C; print(C(1).take(sys.argv[1]))"
    )
    command = (sys.executable, "-c", script, name)
    claims = Claims(most=1)
    assert claims.take(name)
    assert not claims.take(name)
    assert subprocess.check_output(command, text=True).strip() == "False"
    # One more than it may hold, so the first is let go.
    assert claims.take("another")
    assert claims.names == ["another"]
    assert subprocess.check_output(command, text=True).strip() == "True"
    assert Claims(most=1).take(name)


def test_runs_of_one_second_into_two_folders_have_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "_NAMES", Claims(most=2))
    cell = SimpleNamespace(name="control of channel")
    asks = (SimpleNamespace(cell=cell, runs=tmp_path / each, seed=7) for each in "abc")
    names = [new_folder(cast(Ask, ask)).name for ask in asks]
    assert len(set(names)) == len(names)
    assert len(set_up._NAMES.names) == 2

"""What the gate prints is whole on a narrow terminal, and where there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from lossmeter.commands._shared import OUT
from tests.support.recorded_runs import plain_budgets
from tests.support.run_folders import Written
from tests.support.typed import typed


@pytest.fixture
def two_losses(project: Path) -> None:
    plain_budgets(project)
    for name, target in (("1", "channel"), ("2", "channel-with-a-long-name")):
        folder = project / "results" / "runs" / f"2026010{name}T000000Z-crash-1"
        Written(folder, target=target, events=3_000, lost=1_234, refused=1_111).save()


def is_whole(table: str) -> None:
    assert "…" not in table
    for figure in ("1,234", "1,111", "1,889"):
        assert len(re.findall(rf"(?<![\w,]){figure}(?![\w,])", table)) >= 2, table
    for word in ("lost", "refused", "verdict", "fail", "channel-with-a-long-name"):
        assert re.search(rf"(?<!\w){word}(?!\w)", table), table


@pytest.mark.usefixtures("two_losses")
@pytest.mark.parametrize("columns", [60, 80])
def test_its_table_is_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(OUT, "width", columns)
    monkeypatch.setattr(OUT, "_force_terminal", True)
    monkeypatch.setattr(OUT, "_color_system", None)
    done = typed(capsys, "gate")
    assert done.code == 1
    is_whole(done.out)
    assert all(cell_len(line) <= columns for line in done.out.splitlines()), done.out


@pytest.mark.usefixtures("two_losses")
@pytest.mark.parametrize("columns", ["60", "80"])
def test_its_table_is_whole_without_a_terminal(columns: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lossmeter.cli", "gate"],
        env=os.environ | {"COLUMNS": columns},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    is_whole(done.stdout)

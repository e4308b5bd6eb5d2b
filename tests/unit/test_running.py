"""A run's page: a picture of the verdict, which it can never change."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lossmeter.commands import _running
from lossmeter.errors import UsageError
from lossmeter.report import page
from lossmeter.report.console import ConsoleNarrator
from tests.support.judged_runs import a_result
from tests.support.run_folders import Written


def reported(folder: Path) -> str:
    console = Console(file=io.StringIO(), width=200)
    _running._draw(folder, a_result("pass"), ConsoleNarrator(console, "crash × channel"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_is_named_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Written(tmp_path / "runs" / "a-run").save()
    monkeypatch.chdir(tmp_path)
    assert "page: runs/a-run/report.html\n" in reported(folder)
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("error", [UsageError("the disk is full"), ZeroDivisionError("defect")])
def test_that_it_cannot_be_drawn_is_told_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> Path:
        raise error

    monkeypatch.setattr(page, "save_run_page", fail)
    assert f"no page, {type(error).__name__}: {error}" in reported(tmp_path)

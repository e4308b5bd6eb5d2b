"""On every page a number has its thousands apart: never 1671 beside 1,671."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lossmeter.judge.verdict import judge_run
from lossmeter.record.index import Filter, History, trends
from lossmeter.report._templates import render
from lossmeter.report.board import board_html, board_markdown
from lossmeter.report.matrix_view import matrix_page
from lossmeter.report.page import run_page
from lossmeter.report.recorded import judged_run
from lossmeter.report.runs_view import runs_view
from tests.support.boards import painted
from tests.support.run_folders import Written

# Not those of names, versions, moments and paths.
RUN_ON = re.compile(r"(?<![\w.,:/@#+-])\d{4,}(?![\w:/+-])")


def _text(page: str) -> str:
    """Return what a page shows, words of its charts and what is read aloud of them included."""
    bare = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    aloud = re.findall(r'aria-label="([^"]*)"', bare)
    return " ".join([re.sub(r"<[^>]*>", " ", bare), *aloud])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "20261125T000001Z-crash-1"
    numbers = {"capacity": 1_000, "rate_per_s": 2_000}
    return Written(
        folder, events=9_000, rate_per_s=2_000.0, lost=1_671, refused=1_234, numbers=numbers
    ).save()


def _index(folder: Path) -> str:
    history = History(
        folder.with_name("h.sqlite"), folder.parent, lambda run: judge_run(run.folder)
    )
    history.refresh()
    entries = history.entries(Filter())
    view = runs_view(Filter(), entries, trends(entries * 20, 20), entries)
    return render("index.html.j2", {**view, "damaged": []})


PAGES: Mapping[str, Callable[[Path], str]] = {
    "run": lambda folder: run_page(folder, judge_run(folder)),
    "matrix": lambda folder: matrix_page([judged_run(folder, judge_run(folder))]),
    "index": _index,
}


@pytest.mark.parametrize("page", PAGES)
def test_thousands_are_apart_on_every_page(folder: Path, page: str) -> None:
    text = _text(PAGES[page](folder))
    assert "1,671" in text
    assert not RUN_ON.findall(text)


@pytest.mark.parametrize("page", [board_html, board_markdown])
def test_thousands_are_apart_on_the_board(page: Callable[..., str]) -> None:
    # What a configuration is called by its own file is as it stands there.
    text = re.sub(r"a\s+channel\s+of\s+1000", "", _text(page(painted())))
    assert "1,234" in text
    assert not RUN_ON.findall(text)

"""The two pages of the board: one model, the same cells, and room for both on a small screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len

from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.pinned import pinned
from lossmeter.plan.project import Project
from lossmeter.report.board import WIDTH, board_html, board_markdown
from lossmeter.report.board_view import BoardView, board_view
from lossmeter.studies.board import plan_of
from lossmeter.studies.standing import LOSSY, State
from tests.support.boards import ABOUT, painted
from tests.support.pages import Seen, squeezed

Cells = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def view() -> BoardView:
    return painted()


def _of_view(view: BoardView) -> Cells:
    return {(cell.configuration, cell.experiment): cell.text for r in view.rows for cell in r.cells}


def _of_markdown(page: str) -> Cells:
    """Return the cells of the tables before the first heading of the second level."""
    found: Cells = {}
    heads: list[str] = []
    name = ""
    for line in page.partition("\n## ")[0].splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if not heads:
            heads = cells
        elif not first.startswith("---"):
            name = first or name
            for head, cell in zip(heads, cells, strict=True):
                # A cost that is too long for a line goes on in the next.
                found[name, head] = f"{found.get((name, head), '') if not first else ''} {cell}"
    return {key: cell.strip() for key, cell in found.items()}


class _Matrix(HTMLParser):
    """Reads the costs of the board's table, and the marks beside them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: Cells = {}
        self._row = self._column = ""
        self._within: list[str] = []
        table = page[page.index('<table class="matrix board">') :].partition("</table>")[0]
        self.feed(table)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._within.append(tag)
        if given.get("scope") == "row":
            self._row = ""
        if tag == "td":
            self._column = given["data-label"] or ""
            self.cells[self._row, self._column] = ""

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._within[-2:] == ["tr", "th"] and "tbody" in self._within:
            self._row += data.strip()
        elif self._within[-2:] in (["td", "b"], ["td", "span"]):
            key = self._row, self._column
            self.cells[key] = f"{self.cells[key]} {data.strip()}".strip()


def test_both_pages_have_the_same_cells(view: BoardView) -> None:
    wanted = _of_view(view)
    assert len(wanted) == len(view.rows) * len(view.experiments)
    assert {text.rpartition(" ")[2] for text in wanted.values()} >= {"0", "?", "–", "✗", "none"}
    assert _of_markdown(board_markdown(view)) == wanted
    assert _Matrix(board_html(view)).cells == wanted


def test_no_line_of_the_markdown_is_wider_than_a_terminal(view: BoardView) -> None:
    page = board_markdown(view)
    wide = [line for line in page.splitlines() if cell_len(line) > WIDTH]
    assert not wide
    # A line that was filled must not begin what it is no part of.
    bullets = re.findall(r"^(?:- |\s*\d+\. )", page, re.MULTILINE)
    assert len(bullets) == len(re.findall(r"^- ", page, re.MULTILINE))


def _losing(view: BoardView) -> Iterator[tuple[str, ...]]:
    for cell, loss in view.losing:
        yield cell.configuration, cell.text, loss.stage, loss.cause, loss.mending


def test_each_losing_cell_says_where_why_and_what_mends_it(view: BoardView) -> None:
    losing = list(_losing(view))
    assert losing
    assert all(stage and cause for _, _, stage, cause, _ in losing)
    assert not [cell for cell, _ in view.losing if cell.experiment == LOSSY]
    markdown = " ".join(board_markdown(view).replace("\\", "").split())
    text = " ".join(Seen(board_html(view)).text.split())
    for each in losing:
        for part in filter(None, each):
            assert part in markdown
            assert part in text
    mended = [loss for _, loss in view.losing if loss.mended_by == "celery-redis-safe"]
    assert mended
    assert all("acks_late" in loss.mending for loss in mended)
    measured = {loss.mending.rpartition(": ")[2].split()[0] for loss in mended}
    assert measured & {"not", "0", "lost"}


def test_the_page_is_whole_safe_and_says_what_it_was_made_with(view: BoardView) -> None:
    page = board_html(view)
    seen = Seen(page)
    assert "script" not in seen.tags
    assert not [value for value in seen.values("src") + seen.values("href") if value]
    assert "Choose by what you cannot bear" in seen.text
    for words in ("no loss", "no duplicates", "no waiting", "postgres", "17.6", "celery 5.7.0"):
        assert words in seen.text
    assert ("seeds", "0, 1") in view.made_with
    assert ("written at commit", "abc") in view.made_with
    assert ("runs made at commits", "0123456789ab with changes") in view.made_with
    # On a small screen each cell is called by its experiment, and the heads are hidden.
    labels = set(seen.values("data-label"))
    assert {name for name, _ in view.experiments} <= labels
    assert "@media (max-width: 46rem)" in page
    assert "@media (prefers-color-scheme: dark)" in page


def test_pages_of_a_board_without_runs_are_whole(project: Path) -> None:
    plan = plan_of(Catalogue(Project.of(project)), ["rq"], [])
    empty = board_view(plan, State(), ABOUT)
    assert set(_of_view(empty).values()) == {"–"}
    assert "## Where it is lost" not in board_markdown(empty)
    assert _Matrix(board_html(empty)).cells == _of_view(empty)
    assert str(project) not in board_markdown(empty) + board_html(empty)


def test_versions_are_those_of_the_locks(project: Path) -> None:
    catalogue = Catalogue(Project.of(project))
    asked = ["taskiq-list", "bullmq", "river"]
    plan = plan_of(catalogue, asked, ["control"])
    python, node, go = (pinned(entry.cell.target.environment) for entry in plan.entries)
    assert python["taskiq-redis"] == "1.2.4"
    assert set(python) == {"psycopg", "taskiq", "taskiq-redis"}
    assert node["bullmq"].startswith("5.")
    assert go["riverqueue/river"] == "0.51.2"
    assert not [name for name in go if "pgpassfile" in name]
    assert not pinned(None)


def test_tables_are_aligned(view: BoardView) -> None:
    tables = squeezed(board_markdown(view)).split("\n\n")
    for table in (each for each in tables if each.startswith("| configuration ")):
        assert len({line.count("|") for line in table.splitlines()}) == 1

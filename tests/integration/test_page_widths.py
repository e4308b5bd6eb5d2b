"""Pages in a real browser, from a phone's width to a wide screen's, light and dark.

The browser is started once for each scheme; it shows every page at every width in a frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lossmeter.judge.verdict import judge_run
from lossmeter.record.index import Filter, History, trends
from lossmeter.report._templates import render
from lossmeter.report.board import board_html
from lossmeter.report.matrix_view import matrix_page
from lossmeter.report.page import save_run_page
from lossmeter.report.recorded import judged_run
from lossmeter.report.runs_view import runs_view
from tests.support import browser
from tests.support.boards import painted
from tests.support.pages import MARKUP, Seen
from tests.support.run_folders import Written

WIDTHS_PX = (390, 500, 768, 1100, 1280, 1920)
# At 46 rem a page changes from one layout to the other.
NARROW_BELOW_PX = 736
PAGES = ("report", "matrix", "board", "runs")
SCHEMES = ("light", "dark")

FRAMES = """<!doctype html><title>measure</title>
{frames}
<script>
const seen = frame => {{
  const page = frame.contentDocument, style = frame.contentWindow.getComputedStyle(page.body);
  const shown = [...page.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().width > 0);
  const clipped = shown.flatMap(svg => [...svg.querySelectorAll("text")].filter(text => {{
    const a = text.getBoundingClientRect(), b = svg.getBoundingClientRect();
    return a.left < b.left - 2 || a.right > b.right + 2;
  }}).map(text => text.textContent));
  const outside = [...page.querySelectorAll(".stack td")].filter(cell => {{
    const r = cell.getBoundingClientRect();
    return r.width > 0 && (r.left < 0 || r.right > frame.clientWidth);
  }}).map(cell => cell.dataset.label);
  const labels = [...page.querySelectorAll(".stack td")].filter(
    cell => cell.getBoundingClientRect().width > 0).map(cell => cell.dataset.label);
  return {{
    outside: [...new Set(outside)], labels: [...new Set(labels)],
    width: page.documentElement.scrollWidth, title: page.title, clipped, charts: shown.length,
    classes: [...new Set(shown.map(svg => svg.getAttribute("class")))],
    ink: style.color,
    paper: [style.backgroundColor,
      frame.contentWindow.getComputedStyle(page.documentElement).backgroundColor],
  }};
}};
onload = () => {{
  document.body.dataset.measured = JSON.stringify(Object.fromEntries(
    [...document.querySelectorAll("iframe")].map(frame => [frame.name, seen(frame)])));
}};
</script>"""


def _frame(page: str, width_px: int) -> str:
    style = f"width:{width_px}px;height:900px;border:0"
    return f'<iframe name="{page}-{width_px}" src="{page}.html" style="{style}"></iframe>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with each page."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {"experiment": MARKUP, "text": MARKUP}
    runs = [
        Written(folder / "20261125T000001Z-crash-1", lost=90, refused=20, **texts).save(),
        Written(folder / "20261125T000002Z-crash-1", target="redis").save(),
    ]
    results = [judge_run(run) for run in runs]
    save_run_page(runs[0], results[0]).rename(folder / "report.html")
    judged = [judged_run(run, result) for run, result in zip(runs, results, strict=True)]
    (folder / "matrix.html").write_text(matrix_page(judged))
    (folder / "board.html").write_text(board_html(painted()))
    history = History(folder / "history.sqlite", folder, lambda run: judge_run(run.folder))
    assert history.refresh() == []
    entries = history.entries(Filter())
    view = runs_view(Filter(), entries, trends(entries * 20, 20), entries)
    (folder / "runs.html").write_text(render("index.html.j2", {**view, "damaged": []}))
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path) -> Mapping[tuple[str, str, int], dict[str, object]]:
    """Return what the browser made of each page by scheme, page and width."""
    return dict(_measured(folder))


def _measured(folder: Path) -> Iterator[tuple[tuple[str, str, int], dict[str, object]]]:
    frames = [_frame(page, width_px) for page in PAGES for width_px in WIDTHS_PX]
    every = folder / "every.html"
    every.write_text(FRAMES.format(frames="\n".join(frames)))
    for scheme in SCHEMES:
        values = Seen(browser.dom(every, dark=scheme == "dark")).values("data-measured")
        assert len(values) == 1, "the pages did not load"
        for name, seen in json.loads(values[0]).items():
            page, width_px = name.split("-")
            yield (scheme, page, int(width_px)), seen


def _light(colour: object) -> float:
    """Return the mean of red, green and blue, from ``rgb(18, 20, 23)``."""
    parts = str(colour).partition("(")[2].rstrip(")").split(",")
    return sum(float(part) for part in parts[:3]) / 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("page", PAGES)
def test_a_browser_shows_each_page_at_any_width(
    measured: Mapping[tuple[str, str, int], dict[str, object]],
    page: str,
    width_px: int,
    scheme: str,
) -> None:
    seen = measured[scheme, page, width_px]
    assert seen["width"] == width_px, "nothing stands out at the side; tables move, pages do not"
    assert seen["clipped"] == [], "every word of a chart is within it"
    papers = seen["paper"]
    assert isinstance(papers, list)
    paper = next(each for each in papers if each != "rgba(0, 0, 0, 0)")
    dark = scheme == "dark"
    assert (_light(paper) < 60) is dark
    assert (_light(seen["ink"]) > 180) is dark
    if page == "report":
        assert seen["charts"] == 3
        assert seen["classes"] == ["narrow" if width_px < NARROW_BELOW_PX else "wide"]
        assert str(seen["title"]).startswith("pass: </style>"), "markup is text, no script ran"


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_the_list_of_runs_shows_lost_and_verdict_at_any_width(
    measured: Mapping[tuple[str, str, int], Mapping[str, list[str]]], width_px: int
) -> None:
    """Without moving a table aside: what lies beyond the edge is what matters less."""
    seen = measured["light", "runs", width_px]
    for label in ("lost", "verdict", "newest"):
        assert label in seen["labels"]
        assert label not in seen["outside"]
    if width_px < NARROW_BELOW_PX:
        assert seen["outside"] == []

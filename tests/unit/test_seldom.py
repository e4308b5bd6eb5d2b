"""What was neither lost nor delivered is in every table that has what was lost."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from lossmeter.model import HELD, Counts
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.remedies import remedies
from lossmeter.record.index import Entry, Filter, Trend
from lossmeter.record.result import Result
from lossmeter.report import words
from lossmeter.report._layout import Grid
from lossmeter.report._templates import render
from lossmeter.report.board import board_html, board_markdown
from lossmeter.report.board_view import board_view
from lossmeter.report.changes_markdown import changes_markdown
from lossmeter.report.dense import Layout, remedies_grid
from lossmeter.report.durability import durability_table
from lossmeter.report.github import step_summary
from lossmeter.report.history import history_table
from lossmeter.report.junit import junit_xml
from lossmeter.report.matrix import cells_frame, runs_frame
from lossmeter.report.matrix_table import matrix_table
from lossmeter.report.matrix_view import matrix_page
from lossmeter.report.page import run_page
from lossmeter.report.predicted_markdown import predicted_table
from lossmeter.report.recorded import JudgedRun
from lossmeter.report.repeats import repeats_table
from lossmeter.report.runs_view import runs_view
from lossmeter.report.saved import Environment
from lossmeter.report.search import search_table
from lossmeter.report.table import result_table
from lossmeter.studies.board import plan_of
from lossmeter.studies.durability import Ran, measure, rows, trials
from lossmeter.studies.found import Report, findings
from lossmeter.studies.repeats import summarise
from lossmeter.studies.standing import CONTROL, LOSSY, State
from lossmeter.world.runtimes.local import LocalRuntime
from tests.support.boards import ABOUT, kept
from tests.support.judged_runs import a_result
from tests.support.pages import Seen
from tests.support.run_folders import Written

WIDTHS = (60, 80, 120, 200)
# 4,321 were left, of 9,000.
LEFT = 4_321


def run(left: Mapping[str, int], experiment: str = "crash", target: str = "redis") -> Result:
    counts = Counts(sent=9_000, acked=9_000, delivered=9_000 - sum(left.values()), **left)
    changes = {"experiment": experiment, "target": target, "counts": counts}
    return a_result("pass").model_copy(
        update=changes | {"not_measured": [] if left.get("stranded") else ["stranded", "late"]}
    )


def entry(result: Result) -> Entry:
    names = ("lost", *HELD, "late", "unresolved")
    figures = {n: None if n in result.not_measured else getattr(result.counts, n) for n in names}
    return Entry(
        *("20260101T000000Z-crash-1", "state", "2026-01-01", result.experiment, result.target),
        *("kubernetes", 1, "pass", "", 9_000, 9_000),
        **figures,
        duplicated=0,
        recovery_s=None,
        throughput_per_s=100.0,
        latency_p99_ms=5.0,
    )


def trend(result: Result) -> Trend:
    return Trend(result.experiment, result.target, "kubernetes", (entry(result),) * 3)


def index(result: Result) -> str:
    entries = [entry(result)]
    view = runs_view(Filter(), entries, [trend(result)], entries)
    return render("index.html.j2", {**view, "classes": Grid("", (), ()), "damaged": []})


def recorded(result: Result) -> JudgedRun:
    return JudgedRun(result, None, Environment())


def compared(result: Result) -> RenderableType:
    return matrix_table(cells_frame(runs_frame([recorded(result)])))


def mended(result: Result) -> str:
    bare, with_it = (result.model_copy(update={"target": n}) for n in ("channel", "channel-retry"))
    known = remedies(Catalogue.here(), [(each.experiment, each.target) for each in (bare, with_it)])
    cells = cells_frame(runs_frame([recorded(bare), recorded(with_it)]))
    return remedies_grid(cells, Layout.dense({}, known)).markdown()


def durable(result: Result) -> RenderableType:
    asked = trials([Catalogue.here().target("redis")], LocalRuntime())[:1]
    list(measure(asked, lambda _: Ran(result)))
    return durability_table(rows(asked), [asked[0].fault])


def searched(result: Result) -> str:
    report = Report(result.target, results=[result])
    assert search_table(report)
    return "\n".join(findings(report, Catalogue.here().target("redis").behaviour))


def changed(result: Result) -> str:
    now, before = (runs_frame([recorded(each)] * 5) for each in (result, run({})))
    return changes_markdown(cells_frame(now, before))


def sheet(result: Result) -> str:
    return cells_frame(runs_frame([recorded(result)])).to_csv(index=False)


def page(result: Result) -> str:
    with tempfile.TemporaryDirectory() as folder:
        written = Written(Path(folder) / "run", events=40).save()
        return Seen(run_page(written, result.model_copy(update={"run_id": "run"}))).text


def board(result: Result) -> tuple[str, str]:
    """Return the pages of a board that has one run."""
    plan, state = plan_of(Catalogue.here()), State()
    entry = next(each for each in plan.entries if each.column not in {CONTROL, LOSSY})
    state.add(kept(entry, result.counts))
    view = board_view(plan, state, ABOUT)
    return board_markdown(view), re.sub(r"<[^>]*>", " ", board_html(view))


TABLES: Mapping[str, Callable[[Result], RenderableType]] = {
    "run": lambda result: result_table([result]),
    "history": lambda result: history_table([trend(result)]),
    "index of runs": index,
    "repeats": lambda result: repeats_table([summarise([run({}), run({}), result])]),
    "summary of a step": lambda result: step_summary([result]),
    "JUnit": lambda result: junit_xml([result]),
    "predicted": lambda result: predicted_table([recorded(result)]),
    "compare": compared,
    "remedies": mended,
    "durability": durable,
    "search": searched,
}


# These have more to say of every run than what it has.
WHOLE: Mapping[str, Callable[[Result], str]] = {
    "page of a run": page,
    "page of a matrix": lambda result: Seen(matrix_page([recorded(result)])).text,
    "comment on changes": changed,
}


def drawn(table: RenderableType, width: int) -> str:
    if isinstance(table, str):
        return table
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(table)
    assert all(cell_len(line) <= width for line in out.getvalue().splitlines())
    return out.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("table", TABLES)
def test_what_was_not_delivered_is_in_every_table(table: str, name: str, width: int) -> None:
    text = drawn(TABLES[table](run({name: LEFT})), width)
    assert re.search(rf"(?<![\w,.]){LEFT:,}(?![\w]|[,.]\d)", text), text
    # A head may be wrapped.
    assert words.measure_name(name) in text, text
    assert "…" not in text


@pytest.mark.parametrize("table", TABLES)
def test_what_no_run_has_is_no_column(table: str) -> None:
    text = drawn(TABLES[table](run({})), 200)
    assert not re.search(r"dead.lettered|pending|stranded", text), text


def says(text: str, figure: str) -> bool:
    return re.search(rf"(?<![\w,.]){figure}(?![\w]|[,.]\d)", text) is not None


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("shown", WHOLE)
def test_what_was_not_delivered_is_on_every_page(shown: str, name: str) -> None:
    text = WHOLE[shown](run({name: LEFT}))
    assert says(text, f"{LEFT:,}"), text
    assert words.measure_name(name) in text, text
    assert "…" not in text


@pytest.mark.parametrize("name", HELD)
def test_what_was_not_delivered_is_in_the_sheet_of_a_matrix(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(sheet(run({name: LEFT}))))
    assert float(row[name]) == float(row[f"{name}_max"]) == LEFT


@pytest.mark.parametrize(
    ("name", "where"),
    list(zip(HELD, ("dead-lettered", "queued or in hand", "stranded"), strict=True)),
)
def test_the_board_says_what_is_held_and_where(name: str, where: str) -> None:
    for text in board(run({name: LEFT})):
        assert says(text, f"held {LEFT:,}"), text
        assert re.search(rf"{LEFT:,}\s[\w\s]*{where}", text), text

"""Tables keep every figure whole, however narrow the terminal is; and Markdown reads as text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from lossmeter.experiment import STEPS
from lossmeter.model import Counts, Evidence, Predicted
from lossmeter.plan.predict.planning import Planned
from lossmeter.plan.predict.queue import Dispatcher
from lossmeter.record.index import Entry, Trend
from lossmeter.record.outcome import Lack, Unjudged
from lossmeter.record.result import Comparison, LoadFigures, Result
from lossmeter.report._layout import Column, Grid, Line, markdown_table
from lossmeter.report.capacities_markdown import tried_table
from lossmeter.report.durability import durability_table
from lossmeter.report.history import history_table
from lossmeter.report.matrix import cells_frame, runs_frame
from lossmeter.report.matrix_table import matrix_table
from lossmeter.report.plan import plan_table
from lossmeter.report.recorded import JudgedRun
from lossmeter.report.repeats import repeats_table
from lossmeter.report.saved import Environment
from lossmeter.report.search import search_table
from lossmeter.report.table import detail, result_table
from lossmeter.report.worked import worked_table
from lossmeter.studies.capacity import Tried
from lossmeter.studies.found import Report
from lossmeter.studies.repeats import Sequential, summarise
from lossmeter.studies.worked import Number, Row
from lossmeter.studies.worth import Window, Worth
from tests.support.judged_runs import a_result

WIDTHS = (60, 80, 100, 120, 140, 200)
LONG = "broker-partition-without-acks"
TARGET = "your-own-dispatcher-retry-dlq"
# Acked, refused, and each class of which a run should show none.
CLASSES = ("2,002", "2,003", *(f"{2_007 + k:,}" for k in range(9)))
_SKIPPED = Unjudged("x", "y", "docker", Lack.SKIPPED, "z")


def run(lost: int = 1_004, **changes: object) -> Result:
    """Return a run with a figure in every class, each of which is found in one place only."""
    counts = Counts(**{n: 2_001 + k for k, n in enumerate(Counts().as_dict())})
    good = {
        "experiment": LONG,
        "target": TARGET,
        "counts": _with(counts, lost),
        "predicted": Predicted(lost=1_231, lost_tolerance=74, duplicated_max=5),
        "prediction_holds": False,
        "recovery_s": 18.62,
        "load": LoadFigures(rate_asked_per_s=200, persisted_per_s=98.7, latency_p99_ms=1_234),
        "comparisons": [
            Comparison(
                name="outage_s",
                unit="s",
                predicted=2,
                measured=43.21,
                difference=41.21,
                tolerance=1,
                reason="",
                holds=False,
            )
        ],
        "evidence": [Evidence("waitpid", "it was ended", "exit code 137", True, 1)],
        "reason": f"{lost:,} lost",
    }
    return a_result("fail").model_copy(update=good | changes)


def _with(counts: Counts, lost: int) -> Counts:
    return Counts(**{**counts.as_dict(), "lost": lost})


def _trend() -> Trend:
    entry = Entry(
        *("f", 1, "2026-01-01", LONG, TARGET, "kubernetes", 1, "fail", "r", 3_000, 2_999),
        *(1_004, 2_002, 2_003, 2_004, None, 3, 2, 18.62, 98.7, 5.0),
    )
    return Trend(LONG, TARGET, "kubernetes", [entry] * 20)


def _worth() -> Worth:
    window = Window(1_004, 2_032.0)
    names = ("SIGKILL", "stop", "OOM", "power loss", "SIGKILL of the broker")
    return Worth(
        TARGET, "kafka.log.flush.interval.messages = 1", "broker", dict.fromkeys(names, window)
    )


def _search() -> Report:
    report = Report(TARGET)
    for found in report.steps.values():
        found.runs, found.looks, found.there, found.lost, found.duplicated = (
            1,
            3,
            4_567,
            1_004,
            2_345,
        )
    return report


def _row() -> Row:
    number = Number(
        says="at 200 events/s against 100 events/s a queue of 1000 is full after 10 s",
        value=1_005,
        experiment="crash",
        target="channel",
        measure="lost",
        tolerance=12,
        reason="r",
    )
    return Row(
        number=number,
        unit="events",
        predicted=[1_005.0],
        measured=[1_003.0, 1_004.0, 1_017.0],
        made=5,
    )


def _cells(before: Sequence[Result] = ()) -> RenderableType:
    def frame(results: Sequence[Result]):  # noqa: ANN202
        return runs_frame([JudgedRun(result, None, Environment()) for result in results])

    now = [run(), run(1_900)]
    return matrix_table(cells_frame(frame(now), frame(before) if before else None))


# Each table, and what it must show whole at every width.
TABLES: dict[str, tuple[Callable[[], RenderableType], tuple[str, ...]]] = {
    "run": (
        lambda: result_table([run(), run(experiment="crash"), _SKIPPED]),
        (LONG, TARGET, "1,004", "fail", "skipped", "1,231 ± 74", "18.6 s", "43.2 s", *CLASSES),
    ),
    "run without evidence": (
        lambda: result_table([run(evidence=[])]),
        ("1,004", "fail", "98.7/s", "1,234 ms"),
    ),
    "detail": (lambda: detail(run()), ("1,004", "2,015", "exit", "137")),
    "compare": (
        _cells,
        (LONG, TARGET, "1,452 (1,004 to 1,900)", "18.6 s", "fail", *CLASSES[1:]),
    ),
    "compare with a baseline": (
        lambda: _cells([run(7)] * 4),
        (LONG, TARGET, "1,452 (1,004 to 1,900)", "was 7", "fail"),
    ),
    "history": (
        lambda: history_table([_trend()]),
        (LONG, TARGET, "kubernetes", "1,004", "2,002", "2,003", "2,004", "20 fail", "18.6 s"),
    ),
    "repeats": (
        lambda: repeats_table([summarise([run(), run(1_900)] * 8, Sequential())]),
        (LONG, TARGET, "1,452", "1,004 to 1,900", "16", "over budget", "100.0%"),
    ),
    "worked": (lambda: worked_table([_row()]), ("1,005 events", "1,003,", "1,004", "yes")),
    "durability": (
        lambda: durability_table([_worth()], list(_worth().windows)),
        (TARGET, "1,004 events,", "2,032 ms", "broker"),
    ),
    "search": (lambda: search_table(_search()), (*STEPS, "1,004", "2,345", "4,567")),
    "capacity": (
        lambda: tried_table(
            [Tried(28_100, False, "1,893 of 28,100 events refused", True, "r", 1_234, 2.0)]
        ),
        ("28,100/s", "1,234 ms", "1,893"),
    ),
    "plan": (
        lambda: plan_table(Planned(Dispatcher(1_400, capacity=5_000), 4_500)),
        ("100/s", "1,300/s", "4,505 ± 33", "5,005 ± 33", "70"),
    ),
}


def drawn(table: RenderableType, width: int | None, *, terminal: bool) -> str:
    console = Console(
        file=io.StringIO(), width=width or 140, force_terminal=terminal, color_system=None
    )
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [*WIDTHS, None], ids=[*map(str, WIDTHS), "no terminal"])
@pytest.mark.parametrize("name", TABLES)
def test_no_table_cuts_a_figure(name: str, width: int | None) -> None:
    build, whole = TABLES[name]
    text = drawn(build(), width, terminal=width is not None)
    assert "…" not in text
    for line in text.splitlines():
        assert cell_len(line) <= (width or 140), line
    for figure in whole:
        assert re.search(rf"(?<![\w,.]){re.escape(figure)}(?![\w]|[,.]\d)", text), (figure, text)


figures = st.integers(0, 10**9).map("{:,}".format)
names = st.text("abc-", min_size=1, max_size=20)


@given(
    st.lists(st.tuples(names, figures, figures, figures), min_size=1, max_size=4),
    st.integers(40, 200),
)
def test_what_matters_is_whole_at_any_width(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    grid = Grid(
        "t",
        [
            Column("name", lambda row: row[0], 0, words=True),
            Column("lost", lambda row: Line(row[1], "fail"), 0),
            Column("refused by the target", lambda row: row[2], 2, matters=lambda _: True),
            Column("dropped", lambda row: row[3], 3),
        ],
        rows,
    )
    text = drawn(grid, width, terminal=True)
    assert all(cell_len(line) <= width for line in text.splitlines())
    for row in rows:
        for cell in row[:3]:
            assert re.search(rf"(?<![\w,]){re.escape(cell)}(?![\w]|,\d)", text), (cell, text)


def test_markdown_reads_as_a_table_without_being_rendered() -> None:
    text = markdown_table(["target", "lost"], [["redis-batch", "1,004"], ["a", "0"]], [False, True])
    assert text.splitlines() == [
        "| target      |  lost |",
        "| ----------- | ----: |",
        "| redis-batch | 1,004 |",
        "| a           |     0 |",
    ]


def test_columns_that_say_nothing_are_left_out() -> None:
    text = drawn(
        result_table([run(counts=Counts(sent=9, acked=9), comparisons=[])]), 200, terminal=True
    )
    assert "resurrected" not in text
    assert "refused" in text

"""A matrix without holes, ranges of repeats, and the table of remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.refusal import Refusal
from lossmeter.plan.remedies import Place, remedies
from lossmeter.report import words
from lossmeter.report.backends import tiers
from lossmeter.report.dense import Layout, remedies_grid
from lossmeter.report.matrix import BY_KEY, records, span_text
from lossmeter.report.matrix_markdown import matrix_markdown, metric_tables, rates_table
from lossmeter.report.matrix_view import matrix_page
from lossmeter.report.predicted_markdown import predicted_table
from lossmeter.report.recorded import JudgedRun
from lossmeter.report.reference import Making, reference
from tests.support.matrix_runs import Runs, frame
from tests.support.pages import Seen, squeezed

NO_BROKER = Refusal("no broker", "fault server-kill needs a target that uses redis")
TIME_UP = Refusal("not measured: time was up", "the time was up")
LOOSE = Budget(max_lost=900, max_duplicated=0)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def dense(now: Sequence[JudgedRun], absent: Mapping[Place, Refusal] | None = None) -> Layout:
    absent = absent or {}
    places = dict.fromkeys([*(run.cell[:2] for run in now), *absent])
    return Layout.dense(absent, remedies(Catalogue.here(), places))


def lost(now: Sequence[JudgedRun], layout: Layout) -> list[list[str]]:
    table = next(metric_tables(frame(now), layout))
    assert table.startswith("**Lost**")
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


# Holes.


def test_a_cell_without_a_run_says_why(runs: Runs) -> None:
    now = [runs.one(lost=20), runs.one(target="redis"), runs.one(experiment="drain")]
    absent = {("broker-down", "channel"): NO_BROKER, ("broker-down", "kafka"): TIME_UP}
    assert lost(now, dense(now, absent)) == [
        ["experiment", "channel", "redis", "kafka"],
        ["crash", "20", "0", "*not measured*"],
        ["drain", "0", "*not measured*", "*not measured*"],
        ["broker-down", "*no broker*", "*not measured*", "*not measured: time was up*"],
    ]
    page = Seen(matrix_page(now, layout=dense(now, absent))).text
    assert "no broker" in page
    assert "not measured: time was up" in page
    assert "no run" not in page


def test_runs_that_nobody_planned_together_keep_their_holes(runs: Runs) -> None:
    now = [runs.one(lost=20), runs.one(target="redis", experiment="drain")]
    assert lost(now, Layout())[1] == ["crash", "20", ""]
    assert "no run" in Seen(matrix_page(now)).text
    assert "not measured" not in matrix_markdown(frame(now))


def test_on_several_runtimes_only_what_was_run_is_a_column(runs: Runs) -> None:
    now = [runs.one(), runs.one(runtime="docker")]
    heads, *_ = lost(now, dense(now, {("crash", "kafka"): TIME_UP}))
    assert heads == ["experiment", "channel (local)", "channel (docker)"]


def test_a_rate_that_was_not_measured_is_no_hole_either(runs: Runs) -> None:
    now = [runs.tier("channel", 100), runs.tier("redis", 100), runs.tier("redis", 200)]
    assert "| 200/s | *not measured* |" in squeezed(rates_table(tiers(frame(now))))


# Repeats.


def test_repeats_that_differ_are_a_range_and_the_gravest_verdict(runs: Runs) -> None:
    now = runs.repeats([10, 120, 20])
    assert lost(now, dense(now))[1] == ["crash", "10–120<br>*fail*"]
    same = runs.repeats([7, 7, 7], experiment="drain")
    assert lost(same, dense(same))[1] == ["drain", "7"]
    (row,) = records(frame([runs.one(budget=None)]))
    assert span_text(row, BY_KEY["lost"]) == "–"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ("0", "1,005", "0–1,005"),
        ("0.42 s", "0.58 s", "0.42–0.58 s"),
        ("99.1/s", "1,001/s", "99.1–1,001/s"),
        ("0 %", "10.0 %", "0–10.0 %"),
        ("5", "5", "5"),
        ("–", "5 s", "––5 s"),
        ("5", "5 s", "5–5 s"),
    ],
)
def test_a_range_names_its_unit_once(low: str, high: str, said: str) -> None:
    assert words.span(low, high) == said


def test_rates_show_the_range_of_their_repeats(runs: Runs) -> None:
    now = [runs.tier("channel", 100, answer_s=a, seed=n) for n, a in enumerate((0.002, 0.03))]
    (tier,) = tiers(frame(now))
    low, _, high = tier.p99.removesuffix(" ms").partition("–")
    assert float(low) < 20 < float(high)
    assert tier.p99 in rates_table([tier])


def test_of_repeats_the_worst_stands_beside_its_prediction(runs: Runs) -> None:
    now = runs.repeats([10, 120, 20])
    (line,) = [row for row in predicted_table(now).splitlines() if row.startswith("| crash")]
    assert squeezed(line).startswith("| crash | channel | local | 3 | fail | 0 | 120 |")


def test_the_page_says_of_how_many_runs_a_cell_is_made(runs: Runs) -> None:
    now = [*runs.repeats([1, 2, 3]), runs.one(target="redis")]
    page = reference(now, frame(now), {}, Making("c"), dense(now))
    assert "made of 1 to 3 runs" in page
    once = [runs.one()]
    assert "made of 1 run:" in reference(once, frame(once), {}, Making("c"), dense(once))


# Remedies.


def test_a_remedy_stands_beside_the_same_without_it_and_not_in_the_matrix(runs: Runs) -> None:
    now = [
        runs.one(experiment="drain", lost=300, budget=LOOSE),
        runs.one(experiment="drain", target="channel-drain", refused=40, answer_s=0.02),
        runs.one(experiment="control", fault=False),
        runs.one(experiment="control", target="channel-drain", fault=False),
    ]
    layout = dense(now)
    assert lost(now, layout)[0] == ["experiment", "channel"]
    first, second = remedies_grid(frame(now), layout).rows
    assert (first.remedy.scenario, first.remedy.name) == ("drain", "channel-drain")
    assert second.remedy.scenario == "control"
    page = reference(now, frame(now), {}, Making("c"), layout)
    (line,) = [row for row in page.splitlines() if row.startswith("| drain") and "→" in row]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["drain", "channel", "channel-drain", "300 → 0", "0 → 40", "0"]
    assert cells[6].endswith(" %")
    before, _, rest = cells[7].partition(" ms → ")
    after, _, change = rest.partition(" ms<br>+")
    assert float(after) > float(before)
    assert change.endswith(" %")
    assert "channel-drain" in Seen(matrix_page(now, layout=layout)).text


def test_a_variant_that_is_a_remedy_names_its_target(runs: Runs) -> None:
    now = [
        runs.one(experiment="power-loss", target="redis", lost=30),
        runs.one(experiment="power-loss-flush-always", target="redis"),
    ]
    layout = dense(now)
    (pair,) = remedies_grid(frame(now), layout).rows
    assert pair.remedy.name == "redis, flush-always"
    assert [row[0] for row in lost(now, layout)] == ["experiment", "power-loss"]


def test_a_remedy_that_was_not_run_says_why(runs: Runs) -> None:
    now = [runs.one(experiment="drain", lost=30)]
    absent = {("drain", "channel-drain"): TIME_UP}
    table = squeezed(remedies_grid(frame(now), dense(now, absent)).markdown())
    assert "30 → not measured: time was up" in table
    unjudged = [*now, runs.one(experiment="drain", target="channel-drain", budget=None)]
    table = squeezed(remedies_grid(frame(unjudged), dense(unjudged)).markdown())
    assert "| 30 → inconclusive | 0 → – |" in table


def test_without_remedies_there_is_no_table_of_them(runs: Runs) -> None:
    now = [runs.one()]
    assert "## Remedies" not in reference(now, frame(now), {}, Making("c"), dense(now))
    alone = [runs.one(experiment="drain", target="channel-drain")]
    assert lost(alone, dense(alone))[0] == ["experiment", "channel-drain"]


# Plain text.


def test_every_table_of_the_page_is_one_in_plain_text_too(runs: Runs) -> None:
    now = [
        *runs.repeats([10, 120, 20]),
        runs.one(target="redis-list", experiment="db-latency-250ms"),
        runs.tier("channel", 100),
        runs.tier("redis-list", 100),
    ]
    making = Making("c", 75, ["crash on kafka: the time was up"], {("crash", "kafka"): TIME_UP})
    page = reference(now, frame(now), {}, making, dense(now, making.absent))
    blocks = [block.splitlines() for block in page.split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert len(tables) >= 7
    for table in tables:
        ends = {tuple(n for n, sign in enumerate(line) if sign == "|") for line in table}
        widest = max(len(cell) for line in table for cell in line.split("|"))
        assert len(ends) == 1 or widest > 48, table[0]
    assert "\\" not in page

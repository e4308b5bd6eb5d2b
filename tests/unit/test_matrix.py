"""Runs as a matrix: what counts as a repeat, what may be compared, what the tables say."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lossmeter.errors import UsageError
from lossmeter.model import Predicted
from lossmeter.plan.budget import Budget
from lossmeter.record.result import Comparison
from lossmeter.report import backends
from lossmeter.report.capacities_markdown import save_capacities_page
from lossmeter.report.capacity import RecordedCapacity, read_capacities
from lossmeter.report.changes_markdown import MARKER, changes_markdown
from lossmeter.report.matrix import BY_KEY, cell_text, records
from lossmeter.report.matrix_markdown import matrix_markdown
from lossmeter.report.matrix_table import matrix_table
from lossmeter.report.matrix_view import matrix_page
from lossmeter.report.predicted_markdown import predicted_table
from lossmeter.report.recorded import JudgedRun, check_comparable, check_repeats
from lossmeter.report.reference import Making, reference
from tests.support.matrix_runs import Runs, frame
from tests.support.pages import MARKUP, Seen, squeezed


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def cells(now: Sequence[JudgedRun], before: Sequence[JudgedRun] = ()) -> list[dict[str, object]]:
    return records(frame(now, before))


def test_repeats_share_a_cell_with_median_and_range(runs: Runs) -> None:
    (cell,) = cells(runs.repeats([10, 30, 20]))
    assert cell["runs"] == 3
    assert (cell["lost"], cell["lost_min"], cell["lost_max"]) == (20, 10, 30)
    assert cell_text(cell, BY_KEY["lost"]) == "20 (10 to 30)"
    assert cell["throughput_per_s"] == pytest.approx(98, abs=3)


def test_a_run_that_says_nothing_has_no_figures(runs: Runs) -> None:
    (cell,) = cells([runs.one(lost=10, budget=None)])
    assert cell["verdict"] == "inconclusive"
    assert cell["judged"] == 0
    assert math.isnan(float(str(cell["lost"])))
    assert cell_text(cell, BY_KEY["lost"]) == "–"


def test_the_gravest_verdict_stands_for_the_cell(runs: Runs) -> None:
    (cell,) = cells([runs.one(), runs.one(seed=2, lost=200)])
    assert cell["verdict"] == "fail"


def test_runtimes_are_cells_of_their_own(runs: Runs) -> None:
    shown = frame([runs.one(), runs.one(runtime="docker")])
    assert len(shown) == 2
    assert "channel (docker)" in matrix_markdown(shown)


def test_a_baseline_marks_better_worse_and_noise(runs: Runs) -> None:
    low, high = [10, 12, 11, 13, 12], [50, 52, 51, 53, 52]
    now, before = runs.repeats(high), runs.repeats(low)
    (cell,) = cells(now, before)
    assert cell["lost_change"] == "worse"
    assert cell["lost_baseline"] == 12
    assert float(str(cell["lost_low"])) > 0
    assert cell["duplicated_change"] == "within noise"
    (back,) = cells(before, now)
    assert back["lost_change"] == "better"


def test_one_run_each_cannot_tell(runs: Runs) -> None:
    (cell,) = cells([runs.one(lost=50)], [runs.one(lost=10)])
    assert cell["lost_change"] == "cannot tell"


def test_different_loads_are_no_repeats(runs: Runs) -> None:
    with pytest.raises(UsageError, match=r"sent 100/s for 10 s .* sent 50/s for 20 s"):
        check_repeats([runs.one(), runs.one(rate_per_s=50)])


def test_a_run_counts_only_once(runs: Runs) -> None:
    run = runs.one()
    with pytest.raises(UsageError, match="is named twice"):
        check_repeats([run, run])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rate_per_s": 50.0}, "runs of different loads cannot be compared"),
        ({"seed": 9}, r"the seeds are 1 and in the baseline 9"),
        ({"runtime": "docker"}, r"ran on runtime local and in the baseline on docker"),
        ({"target": "kafka"}, r"no experiment and target in common; .* crash on kafka"),
        ({"experiment": "crash-full"}, r"no experiment and target in common"),
    ],
)
def test_what_cannot_be_compared_says_why(
    runs: Runs, changes: dict[str, object], said: str
) -> None:
    now, before = [runs.one()], [runs.one(**changes)]
    with pytest.raises(UsageError, match=said):
        check_comparable(now, before, across_seeds=False)


def test_seeds_may_differ_when_that_is_allowed(runs: Runs) -> None:
    check_comparable([runs.one()], [runs.one(seed=9)], across_seeds=True)


def test_markup_in_names_stays_text_everywhere(runs: Runs) -> None:
    name = f"a|b [red]{MARKUP} [/x]"
    now = [runs.one(target=name, lost=10), runs.one(target=name, lost=10, experiment="[bold]e[/]")]
    seen = Seen(matrix_page(now))
    assert "script" not in seen.tags
    assert name in seen.text
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(matrix_table(frame(now)))
    assert "[red]" in console.export_text()
    for line in matrix_markdown(frame(now)).splitlines():
        if line.startswith("| "):
            assert "<script" not in line
            assert line.replace("\\|", "").count("|") == 3


def test_the_page_says_what_suits_and_shows_each_cell(runs: Runs) -> None:
    now = [
        runs.one(lost=300, budget=Budget(max_lost=400)),
        runs.one(target="redis"),
        runs.tier("channel", 100),
        runs.tier("redis", 100, answer_s=0.004),
    ]
    seen = Seen(matrix_page(now, capacities={("redis", "local"): _capacity("redis", 1234)}))
    assert "3 experiments" not in seen.text
    assert "2 experiments on 2 targets" in seen.text
    assert "1,234/s" in seen.text
    assert "at least 100/s" in seen.text
    assert "channel + retry + alerts" in seen.text
    assert any(value.startswith("--h:0.5") for value in seen.values("style"))


def _capacity(target: str, rate_per_s: float) -> RecordedCapacity:
    return RecordedCapacity(target=target, runtime="local", sustained_per_s=rate_per_s)


# Which backend suits which rate.


def test_the_one_that_loses_least_suits_then_the_faster(runs: Runs) -> None:
    now = [
        runs.one(lost=90),
        runs.one(target="redis"),
        runs.one(target="kafka"),
        runs.tier("channel", 100, answer_s=0.001),
        runs.tier("redis", 100, answer_s=0.002),
        runs.tier("kafka", 100, answer_s=0.02),
    ]
    (advice,) = backends.advise(frame(now))
    assert advice.suits == "redis"
    assert advice.kept == ("channel", "redis", "kafka")
    assert advice.fastest == "channel"
    assert advice.recommended == "channel + retry + alerts"
    assert backends.worst_losses(frame(now)) == {"channel": 90, "kafka": 0, "redis": 0}


def test_a_rate_is_not_kept_by_who_refuses_is_late_or_fails(runs: Runs) -> None:
    now = [
        runs.tier("a", 100, refused=5),
        runs.tier("b", 100, answer_s=5.0),
        runs.tier("c", 100, lost=200),
        runs.tier("d", 100, budget=None),
    ]
    why = {tier.target: tier.why_not for tier in backends.tiers(frame(now))}
    assert why["a"] == "5 refused"
    assert why["b"].startswith("p99")
    assert why["c"] == "fail"
    assert why["d"] == "inconclusive"
    (advice,) = backends.advise(frame(now))
    assert advice.suits is None
    reported = backends.sustained(frame(now), {})
    assert set(reported.values()) == {"below 100/s"}


def test_the_highest_rate_sustained_is_in_every_format(runs: Runs) -> None:
    now = [runs.tier("channel", 100), runs.tier("slow", 100, answer_s=5.0), runs.tier("redis", 100)]
    now.append(runs.one(target="untried"))
    measured = {("redis", "local"): _capacity("redis", 1234)}
    cells = backends.with_sustained(frame(now), measured)
    by_target = cells.set_index("target")
    assert by_target["sustained_per_s"].loc[["channel", "redis"]].tolist() == [100, 1234]
    assert by_target["sustained_per_s"].loc[["slow", "untried"]].isna().all()
    said = {"channel": "at least 100/s", "slow": "below 100/s", "redis": "1,234/s"}
    assert by_target["sustained"].to_dict() == {**said, "untried": "unknown"}
    console = Console(file=io.StringIO(), width=200)
    console.print(matrix_table(cells))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "sustained: channel at least 100/s, slow below 100/s, redis 1,234/s\n" in shown
    assert "| redis | 1,234/s |" in squeezed(matrix_markdown(cells))


def test_faults_that_not_all_met_decide_nothing(runs: Runs) -> None:
    now = [runs.one(lost=90), runs.tier("channel", 100), runs.tier("redis", 100)]
    now.append(runs.one(target="redis", budget=None))
    assert backends.worst_losses(frame(now)) == {}


def test_what_all_lose_alike_tells_none_from_another(runs: Runs) -> None:
    now = [runs.tier("channel", 100), runs.tier("redis", 100)]
    now += [
        runs.one(experiment="db-down", target=t, lost=n)
        for t, n in (("channel", 40), ("redis", 41))
    ]
    assert backends.worst_losses(frame(now)) == {}
    now += [runs.one(lost=90), runs.one(target="redis")]
    assert backends.worst_losses(frame(now)) == {"channel": 90, "redis": 0}


def test_who_was_not_tried_at_any_rate_spares_nobody(runs: Runs) -> None:
    now = [
        runs.one(lost=90),
        runs.one(target="redis"),
        runs.one(target="redis-retry-dlq", budget=None),
        runs.tier("channel", 100),
        runs.tier("redis", 100),
    ]
    assert backends.worst_losses(frame(now)) == {"channel": 90, "redis": 0}


def test_capacities_are_read_from_where_they_are_saved(tmp_path: Path) -> None:
    folder = tmp_path / "capacity"
    folder.mkdir()
    (folder / "redis-local.json").write_text(
        '{"schema": 1, "target": "redis", "runtime": "local", "sustained_per_s": 90.0, "seed": 1}'
    )
    assert read_capacities(tmp_path) == {}, "it had other settings than the rates"
    (folder / "redis-local-like-rates.json").write_text(
        '{"target": "redis", "runtime": "local", "sustained_per_s": 800.0, "like": "rates"}'
    )
    assert read_capacities(tmp_path)["redis", "local"].sustained_per_s == 800
    page = squeezed(save_capacities_page(folder).read_text())
    assert page.index("| redis | local | rates | 800/s |") < page.index(
        "| redis | local | its own | 90.0/s |"
    )
    (folder / "x.json").write_text('{"target": "x"}')
    with pytest.raises(UsageError, match=r"x\.json is damaged"):
        read_capacities(tmp_path)


def test_each_run_has_its_prediction_beside_it_and_a_mark_where_it_missed(runs: Runs) -> None:
    run = runs.one(lost=20)
    held = Comparison(
        name="held_s",
        unit="s",
        predicted=4,
        measured=9.5,
        difference=5.5,
        tolerance=2,
        reason="",
        holds=False,
    )
    reported = {"predicted": Predicted(lost=25, lost_tolerance=10), "difference": -5}
    result = run.result.model_copy(update=reported | {"comparisons": [held]})
    line = squeezed(predicted_table([replace(run, result=result)]).splitlines()[-1])
    assert line.startswith("| crash | channel | local | pass | 0 | 20 | 25 ± 10 | fault held")
    assert line.endswith(": 9.50 s (4.00 s ± 2.00 s) ✗ |")
    none = run.result.model_copy(update={"predicted": None, "comparisons": []})
    line = squeezed(predicted_table([replace(run, result=none)]).splitlines()[-1])
    assert line.endswith("| – | – |")


def test_rates_stand_with_the_settings_that_each_target_had_there(runs: Runs) -> None:
    own, all_alike = {"workers": 500, "batch_rows": 500}, {"workers": 32}
    now = [runs.tier("kafka-batch", 2000, numbers=own), runs.tier("redis", 2000, numbers=all_alike)]
    equal = {"events": 500, "fault": False, "experiment": "equal-rates-2000"}
    now += [runs.one(target=name, numbers=all_alike, **equal) for name in ("kafka-batch", "redis")]
    now.append(runs.one(target="redis"))
    cells = frame(now)
    assert [tier.target for tier in backends.tiers(cells)] == ["kafka-batch", "redis"]
    page = squeezed(reference(now, cells, {}, Making("make results")))
    assert "| kafka-batch | 500 | 500 |" in page
    assert "| redis | 32 | |" in page
    assert "whether they suit a target or not: workers 32." in page
    assert page.count("**Throughput and p99 by rate**") == 2
    assert "| equal-rates-2000 |" not in page.partition("## Predicted and measured")[0]


def test_the_reference_page_names_machine_seed_and_what_is_missing(runs: Runs) -> None:
    now = [runs.one(lost=20), runs.tier("channel", 100), runs.tier("channel", 200)]
    making = Making("make results", 75, ["crash on docker-only: no engine"])
    page = reference(now, frame(now), {}, making)
    for said in (
        "from runs that took 1 min 15 s together",
        "At 100 events/s **channel** suits best",
        "The analysis recommends Redis + retry + dead-letter queue",
        "| seed | 1 |",
        "PostgreSQL 18",
        "crash on docker-only: no engine",
        "| crash | 20 |",
        "| crash | channel | local | pass |",
    ):
        assert said in squeezed(page), said


def test_a_comment_says_what_changed_the_worst_first(runs: Runs) -> None:
    low, high = [10, 12, 11, 13, 12], [50, 52, 51, 53, 52]
    before = [*runs.repeats(low), *runs.repeats(high, target="redis")]
    now = [*runs.repeats(high), *runs.repeats(low, target="redis")]
    now += runs.repeats(low, target="new|one")
    lines = changes_markdown(frame(now, before)).splitlines()
    assert lines[0] == MARKER
    assert " worse, " in lines[2]
    assert " better, " in lines[2]
    assert " within noise" in lines[2]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("|")]
    shown = [cells for cells in rows if cells[3] == "lost"]
    assert [cells[0].removeprefix("| ") for cells in shown] == [
        "🔺 worse",
        "✅ better",
        "no baseline",
    ]
    assert shown[0][1:] == ["crash", "channel", "lost", "12", "52 (50 to 53) |"]
    assert shown[2][2] == r"new\|one"


def test_with_one_run_a_side_a_comment_cannot_tell(runs: Runs) -> None:
    text = changes_markdown(frame([runs.one(lost=10)], [runs.one(lost=12)]))
    assert "cannot tell</summary>" in text
    assert "worse" not in text.split("<sub>")[0]
    assert "with 4 on each side" in text

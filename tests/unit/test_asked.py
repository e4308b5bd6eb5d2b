"""Numbers of a command line reach load, faults, target and prediction, and tell runs apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmeter.errors import ExitCode, UsageError
from lossmeter.experiment import Phase
from lossmeter.judge.again import Judge, Wanted, matching, newest_of_each
from lossmeter.judge.verdict import judge_run
from lossmeter.model import named_with, without_numbers
from lossmeter.plan.asked import Numbers
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plan.predict.expected import expected
from lossmeter.plan.predict.named import PREDICTIONS
from lossmeter.record.facts import Facts
from lossmeter.record.index import Filter, History, trends
from lossmeter.record.runs import RecordedRun, slug
from lossmeter.report.backends import tiers, worst_losses
from lossmeter.report.matrix import cells_frame, runs_frame
from lossmeter.report.recorded import check_comparable, check_repeats, judged_run
from tests.support.resealed import resealed
from tests.support.run_folders import Written
from tests.support.typed import typed

ASKED = {"workers": 3, "handler_time_s": 0.08, "capacity": 300}
OPTIONS = [f"{name}={value}" for name, value in ASKED.items()]
NAME = "crash (rate 150, duration 30, capacity 300, handler_time_s 0.08, workers 3)"


def _cells(experiment: str, *targets: str) -> list[Cell]:
    catalogue = Catalogue.here()
    return cells(catalogue, catalogue.experiment(experiment), targets or ["channel"], [])


def _put_on(experiment: str, *options: str) -> Cell:
    return Numbers.parse(150, 30, options or OPTIONS).put_on(_cells(experiment))[0]


def test_a_fault_meets_the_queue_as_full_as_before() -> None:
    cell = _put_on("crash")
    assert cell.name == NAME
    assert cell.variant.load.phases == (Phase(150, 30),)
    assert cell.variant.faults[0].trigger.condition == "queue_length >= 150"
    assert {name: cell.numbers()[name] for name in ASKED} == ASKED
    full = _put_on("queue-full").variant.faults[0]
    assert full.parameters["length"] == 300
    assert full.parameters["within_s"] == pytest.approx(14 * 30 / 18, abs=0.001)


def test_the_prediction_follows() -> None:
    # 150 queued and one in each hand; from 150 and 3 at SIGTERM 2 s at 37.5/s leave 78.
    assert expected(_put_on("crash")).lost == 153
    assert expected(_put_on("short-grace")).lost == 78
    # 112.5 more a second fill 300 after 2.67 s.
    full = {figure.name: figure.value for figure in expected(_put_on("queue-full")).figures}
    assert full["struck_s"] == pytest.approx(2.67, abs=0.02)
    assert full["throughput_per_s"] == pytest.approx(37.5, abs=0.1)


def test_what_has_no_fault_loses_nothing() -> None:
    cell = _cells("crash")[0]
    none = replace(cell, variant=replace(cell.variant, faults=()))
    for predict in PREDICTIONS.values():
        predicted = expected(replace(none, experiment=replace(none.experiment, predict=predict)))
        assert predicted.lost in {0, None}
        assert (predicted.lost is None) == (predict is PREDICTIONS["none"])


def test_a_duration_alone_lengthens_each_phase_and_a_rate_alone_none() -> None:
    (burst,) = _cells("burst")
    (longer,) = Numbers.parse(None, 20, []).put_on([burst])
    assert [p.duration_s for p in longer.variant.load.phases] == [6, 6, 8]
    (flat,) = Numbers.parse(80, None, []).put_on([burst])
    assert flat.variant.load.phases == (Phase(80, 10),)
    assert flat.variant.faults == burst.variant.faults
    assert Numbers.parse(None, None, []).put_on([burst]) == [burst]


def test_what_a_run_must_have_shrinks_with_a_smaller_load_and_what_it_may_cost_stays() -> None:
    budget = Budget(max_lost=40, min_sent=400, min_acked=300, max_unresolved=9)
    assert budget.scaled(0.5, exact=False) == budget.model_copy(
        update={"min_sent": 200, "min_acked": 150}
    )
    assert budget.scaled(4, exact=False) == budget
    assert budget.scaled(4, exact=True).max_lost == "predicted"


BAD = {
    ("--rate", "0"): "rate 0/s is not above 0",
    ("--rate", "nan"): "--rate",
    ("--duration", "0"): "load of 0 s is not within",
    ("--rate", "0.1", "--duration", "1"): "has no event at all",
    ("--set", "workers"): "is not of the form NAME=VALUE",
    ("--set", "workers="): "is not of the form NAME=VALUE",
    ("--set", "workers=inf"): "is not a finite number",
    ("--set", "worker=3"): "no such setting; known are capacity, database_timeout_s,",
    ("--set", "redis.appendfsync=no"): "no such setting; known are capacity",
    ("--set", "workers=0"): "--set workers: Input should be greater than or equal to 1, not 0",
    ("--set", "workers=2.5"): "not 2.5",
    ("--set", "query_s=-1"): "--set query_s is -1; right are seconds, 0 or more",
    ("--set", "workers=3", "--set", "workers=4"): "gives workers twice, 3 and 4",
    ("--rate", "60"): "which can never come true",
}


@pytest.mark.parametrize("options", BAD, ids=" ".join)
def test_a_wrong_number_is_one_sentence_and_starts_nothing(
    options: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = typed(capsys, "run", "crash", "-t", "channel", "--runtime", "local", *options)
    assert answer.code == ExitCode.USAGE
    assert BAD[options] in answer.err
    assert not (tmp_path / "results").exists()


def test_a_target_that_lacks_a_setting_is_left_out_by_name() -> None:
    by_target = {
        cell.target.name: cell
        for cell in Numbers.parse(None, None, ["workers=3"]).put_on(
            _cells("queue-full", "channel", "channel-workers")
        )
    }
    assert by_target["channel"].lacks() is None
    assert by_target["channel-workers"].lacks() == "workers"


names = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=20)
values = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=9))


@given(names, st.dictionaries(names, values, min_size=1, max_size=4))
def test_numbers_can_be_taken_off_a_name_again(
    name: str, asked: dict[str, str | int | float]
) -> None:
    assert without_numbers(named_with(name, asked)) == name
    assert named_with(name, asked) != name
    assert slug(name) == name
    assert slug(named_with(name, asked)).startswith(f"{name}-with-")


@settings(max_examples=30)
@given(st.permutations(OPTIONS))
def test_the_order_of_options_makes_no_other_run(options: list[str]) -> None:
    assert Numbers.parse(150.0, 30.0, options).asked() == Numbers.parse(150, 30, OPTIONS).asked()


def test_numbers_are_written_in_one_way() -> None:
    assert Numbers.parse(1.5e2, None, ["workers=3.0", "a=0.080"]).asked() == {
        "rate": 150,
        "a": 0.08,
        "workers": 3,
    }


# Whatever picks runs, or groups them.


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with a run as it is, and a later one with other numbers."""
    folder = tmp_path / "results" / "runs"
    Written(folder / "20260101T000000Z-crash-1", lost=5).save()
    name = named_with("crash", {"rate": 150})
    Written(folder / f"20260102T000000Z-{slug(name)}-1", experiment=name, lost=50).save()
    for path in folder.iterdir():
        facts = Facts.load(path)
        asked = {"rate": 150} if "(" in facts.experiment else {}
        facts = facts.model_copy(update={"asked": asked, "begun_ns": _begun(path)})
        facts.save(path)
        resealed(path)
    return folder


def _begun(path: Path) -> int:
    return (1 if "0101T" in path.name else 2) * 10**18


def _recorded(folder: Path) -> list[RecordedRun]:
    found, damaged = matching(folder, Wanted())
    assert not damaged
    return found


def test_the_newest_run_of_each_and_those_of_a_gate_are_told_apart(runs: Path) -> None:
    found = _recorded(runs)
    assert len(newest_of_each(found)) == 2
    (own,) = matching(runs, Wanted(cells=(("crash", "channel"),)))[0]
    assert own.facts.asked == {}


def test_history_and_matrix_keep_them_apart(runs: Path, tmp_path: Path) -> None:
    judge = Judge(Catalogue.here())
    history = History(tmp_path / "history.sqlite", runs, judge)
    assert history.refresh() == []
    assert len(trends(history.entries(Filter()), 9)) == 2
    assert len(history.entries(Filter(experiment="crash"))) == 1
    judged = [judged_run(run.folder, judge(run)) for run in _recorded(runs)]
    check_repeats(judged)
    assert len(cells_frame(runs_frame(judged))) == 2
    with pytest.raises(UsageError, match=r"have no experiment and target in common.*crash on"):
        check_comparable(judged[1:], judged[:1], across_seeds=True)


def test_advice_rests_on_the_own_numbers_of_experiments_only(runs: Path) -> None:
    judged = [judged_run(run.folder, judge_run(run.folder)) for run in _recorded(runs)]
    frame = cells_frame(runs_frame(judged))
    assert worst_losses(frame) == {"channel": 5}
    rated = [replace(run, result=run.result.model_copy()) for run in judged]
    rated[0].result.experiment = "rates-100"
    rated[1].result.experiment = "rates-100 (workers 3)"
    assert len(tiers(cells_frame(runs_frame(rated)))) == 1


def test_the_budget_in_force_is_that_of_the_experiment_for_this_load(runs: Path) -> None:
    own, asked = _recorded(runs)
    budget = Judge(Catalogue.here())(own).budget
    assert budget is not None
    assert budget.min_sent == 1800
    asked.facts.load_scale = 0.5
    scaled = Judge(Catalogue.here())(asked).budget
    assert scaled is not None
    assert (scaled.min_sent, scaled.max_lost) == (900, budget.max_lost)


def test_a_whole_run_takes_the_place_of_a_damaged_one_of_the_same_numbers(runs: Path) -> None:
    for numbers, left in (({"rate": 150}, 0), ({"rate": 151}, 1)):
        name = slug(named_with("crash", numbers))
        damaged = runs / f"20250101T000000Z-{name}-9"
        damaged.mkdir()
        assert len(matching(runs, Wanted())[1]) == left
        # Its begin is that of its name, before the whole ones.
        damaged.rmdir()


def test_the_index_has_stranded_and_late_where_a_run_was_asked_for_them(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert '"stranded": null' in typed(capsys, "history", "--json", "-").out
    for path in runs.iterdir():
        asked = {
            "stranded_measured": True,
            "redelivered_after_s": 1.0,
            "budget": Budget(max_lost=9),
        }
        Facts.load(path).model_copy(update=asked).save(path)
        resealed(path)
    shown = json.loads(typed(capsys, "history", "--json", "-").out)
    assert [(each["stranded"], each["late"]) for each in shown] == [(0, 0), (0, 0)]

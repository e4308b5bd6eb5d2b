from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import rates
from lossmeter.commands.capacity import _choices
from lossmeter.errors import UsageError
from lossmeter.experiment import Phase
from lossmeter.model import Counts, Verdict
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.target import Target
from lossmeter.record.collected import Collected
from lossmeter.record.facts import Facts
from lossmeter.record.result import LoadFigures, Result
from lossmeter.studies.capacity import (
    MOST_RUNS,
    Asked,
    Bounds,
    Capacity,
    RateSearch,
    Tried,
    Value,
    cell_at,
    look,
    measured,
    tune,
    weigh,
)
from tests.support.run_folders import SECOND, Written


def _tried(rate: float, *, sustained: bool, target: bool = True) -> Tried:
    return Tried(rate, sustained, "" if sustained else "too slow", target, "run", 1.0, 0.0)


@given(st.floats(1, 50_000), st.floats(1, 2000))
def test_the_search_closes_in_on_the_limit(limit: float, start: float) -> None:
    search = RateSearch(start_per_s=start, most_per_s=20_000)
    tried = look(search, lambda rate: _tried(rate, sustained=rate <= limit))
    found = measured(Asked("channel", "local", 1), Bounds(), search, tried)
    best, failed = found.sustained_per_s, found.failed_per_s
    if limit < search.least_per_s:
        assert (best, failed) == (None, search.least_per_s)
    elif limit >= search.most_per_s:
        assert (best, failed) == (search.most_per_s, None)
    else:
        assert best <= limit < failed
        # Far from its start a search runs out of runs before it is as close as it would be.
        assert failed / best <= (1.06 if len(tried) < MOST_RUNS else 2)


def test_settings_are_tuned_one_after_the_other_and_all_that_was_tried_is_kept() -> None:
    asked: list[Mapping[str, object]] = []

    def capacity(settings: Mapping[str, Value]) -> Capacity:
        asked.append(dict(settings))
        rate = {32: 800.0, 64: 1600.0, 128: 1600.0}[int(settings["workers"])]
        rate *= 1 if settings["capacity"] == 1000 else 0.5
        of = Asked("redis", "local", 1, "rates", settings)
        return measured(of, Bounds(), RateSearch(), [_tried(rate, sustained=True)])

    found = tune({"workers": [32, 64, 128], "capacity": [1000, 5000]}, capacity)
    assert found.settings == {"workers": 64, "capacity": 1000}, "of equals the first stands"
    assert found.sustained_per_s == 1600
    assert [each.sustained_per_s for each in found.tuning] == [800, 1600, 1600, 800]
    assert asked[-1] == {"workers": 64, "capacity": 5000}, "with the best of the one before"
    assert len(asked) == 4


def test_what_suits_a_target_comes_before_what_the_rates_ask_of_all() -> None:
    catalogue = Catalogue.here()
    found = cells(catalogue, catalogue.experiment("rates"), ["redis-batch", "redis"], ["5000"])
    batch, plain = (cell.numbers() for cell in found)
    assert (batch["workers"], batch["capacity"], batch["batch_rows"]) == (500, 20_000, 500)
    assert (plain["workers"], plain["capacity"]) == (32, 1000)
    assert batch["handler_time_s"] == plain["handler_time_s"] == 0.01
    alike = cells(catalogue, catalogue.experiment("equal-rates"), ["redis-batch"], ["2000"])
    assert alike[0].numbers()["workers"] == 32
    one = cell_at(batch_target := found[0].target, 50, 10, catalogue.experiment("rates"))
    assert one.numbers()["workers"] == 500
    own = cell_at(batch_target, 50, 10, catalogue.experiment("rates"), {"workers": 64})
    assert own.numbers()["workers"] == 64


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["worker=3"], "has no such setting; known are"),
        (["workers"], "is not of the form NAME=VALUE"),
        (["workers=3,,5"], "is not of the form NAME=VALUE"),
        (["workers=3", "workers=5"], "gives workers twice"),
    ],
)
def test_what_cannot_be_tuned_is_said(options: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        _choices(Catalogue.here().target("redis"), options)


@pytest.mark.parametrize("limit", [0.83, 3.3, 8.4, 13.7, 19.2])
def test_a_slow_target_is_closed_in_on_without_trying_one_rate_again(limit: float) -> None:
    search = RateSearch(start_per_s=20 * limit)
    tried = look(search, lambda rate: _tried(rate, sustained=rate <= limit))
    assert len(tried) < MOST_RUNS
    sustained = [t.rate_per_s for t in tried if t.sustained]
    assert len(sustained) == len(set(sustained))
    failed = [t.rate_per_s for t in tried if not t.sustained]
    assert all(failed.count(rate) == 2 for rate in failed), "each failure is tried once more"
    assert limit / 1.06 <= max(sustained) <= limit


def test_starvation_of_the_harness_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    folder = Written(tmp_path / "run").save()
    facts = Facts.load(folder)
    facts.probe_gap_s = 0.8
    facts.save(folder)
    slow = LoadFigures(rate_asked_per_s=100, rate_kept_per_s=100, latency_p99_ms=2500)
    tried = weigh(100, _result(load=slow), folder, Bounds())
    assert (tried.sustained, tried.target_at_fault) == (False, False)
    assert "the harness was starved of CPU for 0.80 s" in tried.why
    facts.probe_gap_s = 0.1
    facts.save(folder)
    tried = weigh(100, _result(load=slow), folder, Bounds())
    assert (tried.sustained, tried.target_at_fault) == (False, True)


def test_a_backlog_is_counted_from_times_that_can_be_true(tmp_path: Path) -> None:
    folder = Written(tmp_path / "run", fault=False).save()
    facts = Facts.load(folder)
    facts.times_measured = True
    facts.save(folder)
    assert weigh(100, _result(), folder, Bounds()).backlog_s == pytest.approx(0, abs=1)
    rows = Collected.load(folder)
    # The clock of the database is an hour back: no backlog would ever be seen.
    rows.rows["persisted_ns"] -= 3600 * SECOND
    rows.save(folder)
    tried = weigh(100, _result(), folder, Bounds())
    assert (tried.sustained, tried.target_at_fault) == (False, False)
    assert "the backlog was not measured: 1,000 of 1,000 rows dated before" in tried.why


def test_one_event_less_of_a_few_is_no_failure_of_the_load(tmp_path: Path) -> None:
    load = LoadFigures(rate_asked_per_s=1, rate_kept_per_s=0.9, latency_p99_ms=5)
    assert weigh(1, _result(load=load), tmp_path, Bounds()).sustained


def test_one_hiccup_does_not_decide() -> None:
    failures = iter([True])
    tried = look(
        RateSearch(start_per_s=100, most_per_s=100),
        lambda rate: _tried(rate, sustained=not next(failures, False)),
    )
    assert [t.sustained for t in tried] == [False, True]
    found = measured(Asked("channel", "local", 1), Bounds(), RateSearch(), tried)
    assert (found.sustained_per_s, found.failed_per_s) == (100, None)


def test_no_run_begins_after_the_limit() -> None:
    assert not look(RateSearch(limit_s=0), lambda rate: _tried(rate, sustained=True))


@pytest.mark.parametrize("bad", [{"start_per_s": 0}, {"start_per_s": 30_000}, {"precision": 0}])
def test_a_search_that_cannot_end_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        RateSearch(**bad)


def _target() -> Target:
    return Catalogue.here().target("channel")


def _result(**change: object) -> Result:
    load = LoadFigures(rate_asked_per_s=100, rate_kept_per_s=100, latency_p99_ms=5)
    values = {
        "run_id": "r",
        "experiment": "capacity",
        "hypothesis": "",
        "target": "channel",
        "ack_level": "enqueued",
        "runtime": "local",
        "seed": 1,
        "verdict": Verdict.INCONCLUSIVE,
        "reason": "no budget",
        "counts": Counts(sent=10, acked=10, delivered=10),
        "load": load,
    }
    return Result.model_validate(values | change)


def test_a_clean_run_is_sustained(tmp_path: Path) -> None:
    tried = weigh(100, _result(), tmp_path, Bounds())
    assert (tried.sustained, tried.why) == (True, "")


@pytest.mark.parametrize(
    ("change", "why", "at_fault"),
    [
        ({"counts": Counts(sent=10, acked=10, delivered=9, lost=1)}, "lost", True),
        ({"counts": Counts(sent=10, acked=9, delivered=9, refused=1)}, "refused", True),
        ({"counts": Counts(sent=10, acked=9, unknown=1, unresolved=1)}, "unresolved", True),
        ({"load": LoadFigures(rate_asked_per_s=100, rate_kept_per_s=100)}, "latency", True),
        ({"load": LoadFigures(rate_asked_per_s=100, rate_kept_per_s=80)}, "load kept", False),
        ({"load": None}, "nothing was sent", False),
        ({"verdict": Verdict.ERROR, "reason": "defect"}, "defect", False),
    ],
)
def test_what_breaks_a_bound_is_named(
    change: dict[str, object], why: str, at_fault: bool, tmp_path: Path
) -> None:
    tried = weigh(100, _result(**change), tmp_path, Bounds())
    assert not tried.sustained
    assert why in tried.why
    assert tried.target_at_fault is at_fault


def test_what_the_load_could_not_offer_is_no_limit_of_the_target(tmp_path: Path) -> None:
    tried = [_tried(100, sustained=True), _tried(200, sustained=False, target=False)]
    found = measured(Asked("channel", "local", 1), Bounds(), RateSearch(), tried)
    assert found.limited_by.startswith("not shown")
    found.save(tmp_path / "deep" / "x.json")
    assert json.loads((tmp_path / "deep" / "x.json").read_text())["sustained_per_s"] == 100


def test_a_cell_offers_the_rate() -> None:
    cell = cell_at(_target(), 321, 2)
    assert (cell.name, cell.variant.load.events) == ("capacity-321", 642)


def test_a_rate_is_offered_with_the_settings_of_an_experiment() -> None:
    target = Catalogue.here().target("redis")
    own, like = cell_at(target, 700, 5), cell_at(target, 700, 5, rates.EXPERIMENT)
    assert own.variant.settings == {}
    assert like.variant.settings == rates.SETTINGS
    assert like.variant.load.max_in_flight == rates.MAX_IN_FLIGHT
    assert own.variant.load.phases == like.variant.load.phases == (Phase(700, 5),)

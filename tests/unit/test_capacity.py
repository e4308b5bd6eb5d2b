from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import rates
from harness.capacity import (
    MOST_RUNS,
    Asked,
    Bounds,
    Search,
    Tried,
    cell_at,
    look,
    measured,
    weigh,
)
from harness.catalogue import Catalogue
from harness.errors import UsageError
from harness.experiment import Phase
from harness.model import Counts, Verdict
from harness.result import LoadFigures, Result
from harness.target import Target


def _tried(rate: float, *, sustained: bool, target: bool = True) -> Tried:
    return Tried(rate, sustained, "" if sustained else "too slow", target, "run", 1.0, 0.0)


@given(st.floats(1, 50_000), st.floats(1, 2000))
def test_the_search_closes_in_on_the_limit(limit: float, start: float) -> None:
    search = Search(start_per_s=start, most_per_s=20_000)
    tried = look(search, lambda rate: _tried(rate, sustained=rate <= limit))
    assert len(tried) <= MOST_RUNS
    best = max((t.rate_per_s for t in tried if t.sustained), default=0.0)
    assert best <= limit
    if len(tried) < MOST_RUNS and limit >= 20:
        assert best >= min(limit, 20_000) / 1.06 - 1


def test_one_hiccup_does_not_decide() -> None:
    failures = iter([True])
    tried = look(
        Search(start_per_s=100, most_per_s=100),
        lambda rate: _tried(rate, sustained=not next(failures, False)),
    )
    assert [t.sustained for t in tried] == [False, True]
    found = measured(Asked("channel", "local", 1), Bounds(), Search(), tried)
    assert (found.sustained_per_s, found.failed_per_s) == (100, None)


def test_no_run_begins_after_the_limit() -> None:
    assert not look(Search(limit_s=0), lambda rate: _tried(rate, sustained=True))


@pytest.mark.parametrize("bad", [{"start_per_s": 0}, {"start_per_s": 30_000}, {"precision": 0}])
def test_a_search_that_cannot_end_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Search(**bad)


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
        ({"load": LoadFigures(rate_asked_per_s=100, rate_kept_per_s=90)}, "load kept", False),
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
    found = measured(Asked("channel", "local", 1), Bounds(), Search(), tried)
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

"""Arrays for the charts, from histories written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossmeter.judge.ledger.times import Times
from lossmeter.model import Status
from lossmeter.record.arrays import INTENT, OUTCOME, PAIR, ROW, Operations
from lossmeter.report import series
from lossmeter.report.saved import Probed

SECOND = 10**9
START = 1_700_000_000 * SECOND


def operations(
    *events: tuple[float, float | None, Status], persisted_s: Sequence[float] = ()
) -> Times:
    """Return one producer's events: sent at, answered at (both in s), status; due when sent."""
    intents = np.zeros(len(events), INTENT)
    outcomes = np.zeros(sum(done is not None for _, done, _ in events), OUTCOME)
    answered = 0
    for sequence, (sent_s, done_s, status) in enumerate(events):
        sent_ns = START + round(sent_s * SECOND)
        intents[sequence] = (0, sequence, sent_ns, sent_ns, 0)
        if done_s is not None:
            outcomes[answered] = (0, sequence, START + round(done_s * SECOND), status, 202)
            answered += 1
    rows = np.zeros(len(persisted_s), ROW)
    rows["persisted_ns"] = [START + round(at_s * SECOND) for at_s in persisted_s]
    return Times.of(Operations(intents, outcomes), rows)


def on(history: Times) -> series.Axis:
    found = series.axis(history)
    assert found is not None
    return found


def test_time_begins_with_the_first_event_due() -> None:
    axis = on(operations((0.0, 0.1, Status.ACKED), (1.9, 2.0, Status.ACKED)))
    assert axis.zero_ns == START
    assert axis.width_s == 0.25
    assert axis.end_s == pytest.approx(2.25)


def test_without_events_there_is_no_time() -> None:
    assert series.axis(operations()) is None


def test_what_else_must_be_seen_stretches_the_time() -> None:
    axis = series.axis(operations((0.0, 0.1, Status.ACKED)), [START + 10 * SECOND])
    assert axis is not None
    assert axis.end_s >= 10


@given(st.floats(0.001, 3600))
def test_bins_are_bounded_and_hold_the_end(end_s: float) -> None:
    axis = on(operations((0.0, 0.0, Status.ACKED), (end_s, end_s, Status.ACKED)))
    assert 1 <= len(axis.edges_s) - 1 <= series.MAX_BINS + 1
    assert axis.end_s >= end_s - 1e-6


def test_rates_count_what_happened_in_each_bin() -> None:
    history = operations(
        (0.0, 0.1, Status.ACKED),
        (0.1, 0.3, Status.ACKED),
        (0.3, 0.4, Status.REFUSED),
        (0.6, None, Status.UNKNOWN),
        persisted_s=[0.2, 0.55],
    )
    axis = on(history)
    rates = series.rates(history, axis)
    assert rates.sent.tolist() == [8, 4, 4]
    assert rates.acked.tolist() == [4, 4, 0]
    assert rates.persisted is not None
    assert rates.persisted.tolist() == [4, 0, 4]
    history.persisted_ns = None
    assert series.rates(history, axis).persisted is None


def test_the_queue_is_the_longest_and_missing_without_an_answer() -> None:
    axis = on(operations((0.0, 0.1, Status.ACKED), (0.7, 0.7, Status.ACKED)))
    at_ns = [START + round(s * SECOND) for s in (-0.1, 0.05, 0.1, 0.3, 0.6, 99)]
    probed = Probed(
        np.array(at_ns, np.int64),
        np.array([True, True, True, False, True, True]),
        np.array([9.0, 3.0, 5.0, np.nan, np.nan, 7.0]),
    )
    queue = series.queue(probed, axis)
    assert queue[0] == 5
    assert np.isnan(queue[1:]).all()


def test_latency_is_from_the_scheduled_time_of_acked_events_only() -> None:
    events = [(0.0, 0.1, Status.ACKED), (0.01, 0.02, Status.REFUSED), (0.02, None, Status.UNKNOWN)]
    events.append((0.6, 0.9, Status.ACKED))
    latency = series.latency(operations(*events), on(operations(*events)))
    assert latency.at_s.tolist() == pytest.approx([0.125, 0.625])
    assert latency.events.tolist() == [1, 1]
    assert latency.ms[:, 0].tolist() == pytest.approx([100, 100, 100])
    assert latency.ms[:, 1].tolist() == pytest.approx([300, 300, 300])


def test_percentiles_are_those_of_numpy() -> None:
    random = np.random.default_rng(1)
    late_s = random.exponential(0.01, 200)
    events = [(0.001 * n, 0.001 * n + late, Status.ACKED) for n, late in enumerate(late_s)]
    latency = series.latency(operations(*events), on(operations(*events)))
    assert latency.ms[:, 0].tolist() == pytest.approx(
        np.percentile(late_s * 1000, series.PERCENTILES).tolist(), rel=1e-3
    )


def test_nothing_acked_has_no_latency() -> None:
    history = operations((0.0, 0.1, Status.REFUSED))
    assert len(series.latency(history, on(history)).at_s) == 0


def test_each_lost_event_has_a_mark_where_it_was_sent() -> None:
    marks = series.marks(np.array([0.1, 0.3]), np.array([0, 1]), ["queued", "in hand"])
    assert marks.at_s.tolist() == pytest.approx([0.1, 0.3])
    assert marks.row.tolist() == [0, 1]
    assert marks.rows == (("queued", 1), ("in hand", 1))
    assert marks.each_is_one
    assert marks.events == 2


def test_many_marks_are_bounded_and_say_for_how_many_they_stand() -> None:
    many = 3 * series.MAX_MARKS
    row = np.arange(many) % 2
    marks = series.marks(0.001 * np.arange(many), row, ["a", "b"])
    assert len(marks.at_s) <= series.MAX_MARKS
    assert not marks.each_is_one
    assert marks.events == many
    assert dict(marks.rows) == {"a": many // 2, "b": many // 2}
    assert 0 <= marks.at_s.min() <= marks.at_s.max() <= 0.001 * many


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_rows_of_producers_are_few_and_each_event_is_in_its_own(producers: list[int]) -> None:
    lost = np.array([(producer, 0) for producer in producers], PAIR)
    row, names = series.by_producer(lost)
    assert len(names) <= series.MAX_ROWS
    for producer, at in zip(producers, row, strict=True):
        first, _, last = names[at].partition("–")
        assert int(first) <= producer <= int(last or first)

"""Conditions: how they are written, when they hold, and how they are waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.experiment import Trigger
from lossmeter.plan.http import Http
from lossmeter.run.conditions import POLL_S, ByCounter, ByProbe
from lossmeter.run.probe import HealthProbe
from lossmeter.world.site import Sample


@pytest.mark.parametrize(
    ("condition", "metric", "holds", "not_yet"),
    [
        ("queue_length >= 500", "queue_length", 500, 499),
        ("in_flight == 5", "in_flight", 5, 4),
        ("persisted >= 300", "persisted", 300, 299),
        ("  persisted>300 ", "persisted", 301, 300),
        ("refused >= 20", "refused", 20, 19),
        ("first refusal", "refused", 1, 0),
        ("first  refusal ", "refused", 3, 0),
        ("queue_length < 3", "queue_length", 2, 3),
    ],
)
def test_a_condition_and_its_bound(condition: str, metric: str, holds: int, not_yet: int) -> None:
    trigger = Trigger(condition)
    assert trigger.metric() == metric
    assert trigger.holds(holds)
    assert not trigger.holds(not_yet)


@pytest.mark.parametrize(
    "condition", ["", "persisted", "persisted >= many", "lost >= 3", "second refusal", "first"]
)
def test_what_is_no_condition_is_refused_with_what_is_known(condition: str) -> None:
    with pytest.raises(UsageError, match="queue_length, in_flight, persisted, refused are known"):
        Trigger(condition)


@pytest.mark.parametrize(
    ("condition", "most", "can"),
    [
        ("queue_length >= 500", 500, True),
        ("queue_length >= 500", 499.5, False),
        ("queue_length > 500", 500, False),
        ("queue_length > 500", 501, True),
        ("queue_length == 7", 6, False),
        ("queue_length == 7", 700, True),
        ("queue_length <= 0", 100, True),
        ("queue_length < 0", 100, False),
        ("first refusal", 0, False),
    ],
)
def test_whether_it_can_hold_at_all(condition: str, most: float, can: bool) -> None:
    assert Trigger(condition).can_hold(most) is can


def test_without_a_condition_nothing_is_watched() -> None:
    assert Trigger(at_s=3).metric() == ""


# Waiting.


def test_a_counter_is_looked_at_often_and_the_look_before_is_kept() -> None:
    begin = time.monotonic()
    looks = []

    def count() -> int:
        looks.append(time.monotonic())
        return int((time.monotonic() - begin) / 0.1)

    watch = ByCounter(count, Trigger("persisted >= 2"))
    assert watch.look(0.05) is None
    assert watch.last() == 0
    met = watch.look(2)
    assert met is not None
    assert time.monotonic() - begin >= 0.2
    assert len(looks) > 5
    assert met.gap_s is not None
    # From the beginning of the look before to the end of this one.
    assert POLL_S <= met.gap_s < 0.1


def test_a_counter_that_does_not_say_is_asked_again() -> None:
    answers = iter([None, None, 1])
    met = ByCounter(lambda: next(answers), Trigger("first refusal")).look(2)
    assert met is not None


def test_a_condition_that_holds_at_the_first_look_has_none_before() -> None:
    met = ByCounter(lambda: 9, Trigger("persisted >= 9")).look(1)
    assert met is not None
    assert met.gap_s is None


class _Scripted(HealthProbe):
    """A probe whose looks are written down beforehand."""

    def __init__(self, lengths: list[int], sink: Path) -> None:
        super().__init__("http://127.0.0.1:1", Http(), sink)
        self._lengths = iter(lengths)

    def look(self) -> Sample:
        asked_ns = time.time_ns()
        return Sample(asked_ns, asked_ns + 1000, ok=True, queue_length=next(self._lengths, 0))


def test_the_probe_tells_of_the_look_before_too(tmp_path: Path) -> None:
    trigger = Trigger("queue_length >= 3")
    probe = _Scripted([0] * 20 + [1, 2, 3, 4], tmp_path / "probe.jsonl")
    found = []

    def wait() -> None:
        found.append(ByProbe(probe, trigger).look(5))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.05)
    with probe:
        waiting.join()
    (met,) = found
    assert met is not None
    at = next(sample for sample in probe.samples() if sample.queue_length == 3)
    before = next(sample for sample in probe.samples() if sample.queue_length == 2)
    assert met.at_ns == at.answered_ns
    assert met.before_ns == before.asked_ns


def test_a_sample_between_two_looks_meets_the_condition_too(tmp_path: Path) -> None:
    probe = _Scripted([], tmp_path / "probe.jsonl")
    lengths = [7, 0, 0, 0, 9, 0]
    watch = ByProbe(probe, Trigger("queue_length >= 5"), seen=1)
    looked: list[int | None] = []

    def take(until: int) -> None:
        for number in range(len(probe.samples()), until):
            probe._samples.append(Sample(number, number + 1, ok=True, queue_length=lengths[number]))

    def holds(value: float) -> bool:
        looked.append(int(value))
        return value >= 5

    object.__setattr__(watch, "_trigger", _Counting(holds))
    take(3)
    assert watch.look(0) is None
    # The queue is long for a moment while nobody waits.
    take(6)
    met = watch.look(0)
    assert met is not None
    assert (met.at_ns, met.before_ns) == (5, 3)
    assert looked == [0, 0, 0, 9]


class _Counting:
    """A trigger that notes what it is asked."""

    def __init__(self, holds: Callable[[float], bool]) -> None:
        self.holds = holds

    def metric(self) -> str:
        return "queue_length"

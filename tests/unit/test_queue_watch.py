"""A queue that is read from outside and never held anything may be another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossmeter.record.facts import Facts
from lossmeter.run.queue_watch import QueueWatch, doubt_of
from lossmeter.world.waiting import wait_for
from tests.support.run_folders import SECOND, Written


class Readings:
    """A length of which each reading is written down before; the last is read for ever."""

    def __init__(self, *readings: int | None) -> None:
        self._readings = list(readings)
        self.left = len(readings)

    def __call__(self) -> int | None:
        self.left -= 1
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("readings", "most"), [((0, None, 0), 0), ((0, 7, 3, 0), 7), ((None, None), 0)]
)
def test_the_longest_that_it_was_seen_is_kept(readings: tuple[int | None, ...], most: int) -> None:
    length = Readings(*readings)
    with QueueWatch(length) as watch:
        assert wait_for(lambda: length.left < 0, 20)
    assert watch.most == most


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A run in which the last hundred events were persisted 1.5 s later than the others."""
    folder = Written(tmp_path / "run", events=1000, rate_per_s=100).save()
    rows = np.load(folder / "rows.npy")
    rows["persisted_ns"][-100:] += 3 * SECOND // 2
    np.save(folder / "rows.npy", rows)
    return folder


def facts_with(folder: Path, queue_most: int | None) -> Facts:
    facts = Facts.load(folder)
    facts.queue_most = queue_most
    return facts


@pytest.mark.parametrize(("workers", "words"), [(50, "50 workers have"), (1, "1 worker has")])
def test_more_events_on_their_way_than_workers_make_it_doubtful(
    slow: Path, workers: int, words: str
) -> None:
    said = doubt_of(slow, facts_with(slow, 0), workers)
    assert said is not None
    assert said.startswith("[queue] was empty at each look, although for ")
    assert f"not persisted than {words} in hand: it names another queue" in said


@pytest.mark.parametrize(
    ("queue_most", "workers"),
    [
        (0, 110),  # they may all be in hand
        (0, 95),  # more than that only for a moment
        (0, None),  # nobody knows how many may be in hand
        (1, 50),  # it was seen to hold one
        (None, 50),  # it was not read
    ],
)
def test_nothing_is_said_where_it_may_well_be_the_right_one(
    slow: Path, queue_most: int | None, workers: int | None
) -> None:
    assert doubt_of(slow, facts_with(slow, queue_most), workers) is None


def test_nothing_is_said_of_more_events_than_are_looked_at_at_once(slow: Path) -> None:
    facts = facts_with(slow, 0)
    assert doubt_of(slow, facts, 50) is not None
    facts.events_planned = 10_000_000
    assert doubt_of(slow, facts, 50) is None

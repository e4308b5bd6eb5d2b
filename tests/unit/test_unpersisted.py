"""How long events were acked and not persisted: by hand-written times with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossmeter.record.arrays import ROW, UNDATED
from lossmeter.record.unpersisted import Unpersisted
from tests.support.run_folders import SECOND, Written


def times(seconds: list[float]) -> np.ndarray:
    return np.array([UNDATED if s < 0 else round(s * SECOND) for s in seconds], np.int64)


@pytest.mark.parametrize(
    ("acked_s", "persisted_s", "beyond", "longest_s"),
    [
        ([], [], 0, 0),
        ([1, 2, 3], [1.5, 2.5, 3.25], 0, 0.5),
        ([1, 2, 3], [4, 5, 6], 0, 5),
        ([1, 2, 3], [4, 5, 6], 1, 3),
        ([1, 2, 3], [4, 5, 6], 2, 1),
        ([1, 2, 3], [4, 5, 6], 3, 0),
        # In another order than they were acked.
        ([3, 1, 2], [4, 6, 5], 1, 3),
        # Two stretches are not one, and one that goes on at once is.
        ([1, 4], [3, 5], 0, 2),
        ([1, 3], [3, 5], 0, 4),
        # Persisted before it was acked makes no room for another.
        ([2, 3], [1, 4], 0, 1),
        # Without a time it may have been there from the beginning.
        ([1, 2], [-1, 4], 0, 2),
    ],
)
def test_the_longest_time_on_end(
    acked_s: list[float], persisted_s: list[float], beyond: int, longest_s: float
) -> None:
    assert Unpersisted(times(acked_s), times(persisted_s)).longest_s(beyond) == longest_s


def test_a_run_s_folder_tells_it_of_what_was_delivered(tmp_path: Path) -> None:
    folder = Written(tmp_path / "run", events=1000, rate_per_s=100, lost=20, refused=10).save()
    found = Unpersisted.of(folder)
    assert len(found.acked_ns) == len(found.persisted_ns) == 970
    # Each is persisted 50 ms after it was due.
    assert found.longest_s(5) < 0.05
    rows = np.load(folder / "rows.npy")
    # A row once more says nothing; of the last hundred each is late by two seconds.
    again = rows[:50].copy()
    again["persisted_ns"] += 90 * SECOND
    rows["persisted_ns"][-100:] += 2 * SECOND
    np.save(folder / "rows.npy", np.concatenate([again, rows]).astype(ROW))
    assert 1.9 < Unpersisted.of(folder).longest_s(50) < 2.1
    assert Unpersisted.of(folder).longest_s(110) == 0


@pytest.mark.parametrize("name", ["rows.npy", "journal-0.bin"])
def test_what_cannot_be_read_is_not_said_to_be_missing(tmp_path: Path, name: str) -> None:
    folder = Written(tmp_path / "run").save()
    (folder / name).write_bytes(b"no such thing")
    assert Unpersisted.of(folder).longest_s(0) == 0

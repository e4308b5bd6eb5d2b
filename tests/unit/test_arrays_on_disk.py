"""Arrays that are written and read a part at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossmeter.record import npy
from lossmeter.record.arrays import PAIR, ROW
from lossmeter.record.spill import joined, open_spill


def _rows(count: int) -> np.ndarray:
    rows = np.zeros(count, ROW)
    rows["sequence"] = np.arange(count)
    return rows


@pytest.mark.parametrize("sizes", [(), (0,), (3,), (5, 0, 7)])
def test_what_grew_is_read_by_numpy_and_in_parts(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    path, whole = tmp_path / "rows.npy", _rows(sum(sizes))
    with npy.Growing(path, ROW) as array:
        at = 0
        for size in sizes:
            array.add(whole[at : at + size])
            at += size
    assert np.array_equal(np.load(path, allow_pickle=False), whole)
    assert np.array_equal(np.concatenate([_rows(0), *npy.parts(path, ROW, 4)]), whole)
    assert npy.length(path, ROW) == len(whole)


def test_what_was_not_finished_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"

    def half() -> None:
        with npy.Growing(path, ROW) as array:
            array.add(_rows(9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "reported"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "holds less than it says"),
        (lambda path: path.write_bytes(b"no array"), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: np.save(path, np.zeros(3, PAIR)), "not of the type that belongs there"),
        (lambda path: np.save(path, np.zeros((3, 2), ROW)), "not of the type that belongs there"),
    ],
)
def test_damage_is_told_with_the_file(tmp_path: Path, damage: object, reported: str) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, _rows(3))
    assert callable(damage)
    damage(path)
    with pytest.raises(ValueError, match=reported) as raised:
        list(npy.parts(path, ROW))
    assert str(path) in str(raised.value)


def test_a_spill_gives_back_what_it_keeps(tmp_path: Path) -> None:
    with open_spill(tmp_path) as spill:
        kept = [spill.keep(_rows(count)) for count in (4, 0, 3)]
        assert [len(each) for each in kept] == [4, 0, 3]
        assert np.array_equal(kept[0][1:3], _rows(4)[1:3])
        assert np.array_equal(kept[2][1:99], _rows(3)[1:])
        assert np.array_equal(joined(kept, ROW), np.concatenate([_rows(4), _rows(3)]))
        assert len(joined([], ROW)) == 0

"""Numbers in ascending order, wherever they lie, against NumPy's own sort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossmeter.judge.ledger import ascending
from lossmeter.judge.ledger.ascending import Ascending, in_memory, percentiles_of
from lossmeter.record.spill import open_spill

NUMBERS = st.integers(-(2**62), 2**62) | st.integers(-3, 3)
PARTS = st.lists(st.lists(NUMBERS, max_size=40), max_size=6)


@pytest.fixture(autouse=True)
def _few_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascending, "_IN_MEMORY", 8)
    monkeypatch.setattr(ascending, "_LEAST_BLOCK", 3)
    monkeypatch.setattr(ascending, "_EVERY", 2)


def _filled(parts: list[list[int]], keep: ascending.Keep = in_memory) -> Ascending:
    numbers = Ascending(keep)
    for part in parts:
        numbers.add(np.array(part, np.int64))
    return numbers


many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(PARTS)
def test_numbers_come_back_in_order_a_block_at_a_time(parts: list[list[int]]) -> None:
    numbers, blocks = _filled(parts), list(_filled(parts).blocks())
    wanted = sorted(number for part in parts for number in part)
    assert [number for block in blocks for number in block.tolist()] == wanted
    assert all(0 < len(block) <= max(8, 3 * len(parts)) for block in blocks)
    assert len(numbers) == len(wanted)
    assert (numbers.first, numbers.last) == ((wanted[0], wanted[-1]) if wanted else (None, None))


@many
@given(PARTS, NUMBERS, NUMBERS)
def test_both_bounds_are_counted(parts: list[list[int]], begin: int, end: int) -> None:
    begin, end = sorted((begin, end))
    wanted = sum(begin <= number <= end for part in parts for number in part)
    assert _filled(parts).between(begin, end) == wanted


@many
@given(PARTS.filter(any), st.data())
def test_numbers_are_found_by_their_rank(parts: list[list[int]], data: st.DataObject) -> None:
    wanted = sorted(number for part in parts for number in part)
    ranks = sorted(data.draw(st.sets(st.integers(0, len(wanted) - 1))))
    found = _filled(parts).at(np.array(ranks, np.intp)).tolist()
    assert found == [wanted[rank] for rank in ranks]


@many
@given(st.lists(st.lists(NUMBERS, min_size=20, max_size=60), min_size=1, max_size=3), st.data())
def test_a_single_number_is_found_among_few(parts: list[list[int]], data: st.DataObject) -> None:
    wanted = sorted(number for part in parts for number in part)
    rank = data.draw(st.integers(0, len(wanted) - 1))
    assert _filled(parts).at(np.array([rank], np.intp)).tolist() == [wanted[rank]]


@many
@given(PARTS, NUMBERS, st.integers(0, 5))
def test_what_comes_long_before_a_number_may_be_left_out(
    parts: list[list[int]], around: int, before: int
) -> None:
    wanted = sorted(number for part in parts for number in part)
    found = [n for block in _filled(parts).blocks(around, before) for n in block.tolist()]
    below = [number for number in wanted if number < around]
    needed = below[len(below) - min(before, len(below)) :] + wanted[len(below) :]
    assert found == sorted(found)
    assert found[len(found) - len(needed) :] == needed


@many
@given(PARTS)
def test_stretches_hold_each_number_once(parts: list[list[int]]) -> None:
    stretches = [stretch.tolist() for stretch in _filled(parts).stretches()]
    assert all(stretch == sorted(stretch) for stretch in stretches)
    every = sorted(number for stretch in stretches for number in stretch)
    assert every == sorted(number for part in parts for number in part)


@many
@given(
    st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=40), max_size=5).filter(any),
    st.lists(st.floats(0, 100), min_size=1, max_size=4),
)
def test_percentiles_are_those_of_numpy(parts: list[list[int]], shares: list[float]) -> None:
    every = [number for part in parts for number in part]
    assert _filled(parts).percentiles(shares) == pytest.approx(
        np.percentile(every, shares).tolist(), rel=1e-9, abs=1e-3
    )


def test_percentiles_of_a_range_keep_the_digits_of_large_numbers() -> None:
    zero = 5 << 54
    numbers = _filled([[zero + 3, zero + 1], [zero + 2, 7]])
    found = percentiles_of(numbers, [50.0], np.array([1]), np.array([3]), np.array([zero]))
    assert found.tolist() == [2.0]


@many
@given(parts=PARTS)
def test_it_is_the_same_from_a_file(parts: list[list[int]], tmp_path: Path) -> None:
    with open_spill(tmp_path) as spill:
        kept = [b.tolist() for b in _filled(parts, spill.keep).blocks()]
        assert kept == [b.tolist() for b in _filled(parts).blocks()]
        assert list(tmp_path.iterdir()) == [], "the file has a name"

"""When service is back, on hand-written instants."""

import numpy as np
import numpy.typing as npt

from lossmeter.judge.ledger.ascending import Ascending
from lossmeter.judge.ledger.stats import back_ns

MS = 1_000_000


def _every(step_ms: int, begin_ms: int, end_ms: int) -> npt.NDArray[np.int64]:
    return np.arange(begin_ms, end_ms, step_ms, dtype=np.int64) * MS


def _back_ms(*parts: npt.NDArray[np.int64], last_ms: int = 3000) -> float | None:
    instants = Ascending()
    for part in parts:
        instants.add(part)
    back = back_ns(instants, 1000 * MS, 2000 * MS, last_ms * MS)
    return None if back is None else back / MS


def test_service_is_back_with_the_end_of_the_gap() -> None:
    assert _back_ms(_every(5, 0, 1000), _every(5, 1400, 3000)) == 1400


def test_what_still_comes_before_the_strike_is_no_recovery() -> None:
    assert _back_ms(_every(5, 0, 1030), _every(5, 1600, 3000)) == 1600


def test_without_an_interruption_there_is_nothing_to_recover_from() -> None:
    assert _back_ms(_every(5, 0, 3000)) == 1000


def test_a_gap_like_those_before_is_no_interruption() -> None:
    assert _back_ms(_every(300, 0, 3000)) == 1000


def test_a_gap_after_the_fault_is_not_its() -> None:
    assert _back_ms(_every(5, 0, 2200), _every(5, 2900, 3000)) == 1000


def test_what_never_comes_back_was_never_seen_to_recover() -> None:
    assert _back_ms(_every(5, 0, 1030)) is None
    assert _back_ms(_every(5, 0, 0)) is None


def test_the_order_of_the_instants_does_not_matter() -> None:
    assert _back_ms(_every(5, 1400, 3000), _every(5, 0, 1000)) == 1400

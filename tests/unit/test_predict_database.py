"""What failing inserts cost, on cases that can be worked out by hand."""

from __future__ import annotations

import pytest

from lossmeter.experiment import Observed, steady
from lossmeter.plan.predict.database import (
    Care,
    away,
    chosen,
    endure,
    every_nth,
    failing,
    full,
    late,
    slowed,
)
from lossmeter.plan.predict.overload import Intake, arrivals

ONE = Intake(workers=1, handler_time_s=0.5, capacity=100)
LOAD = steady(50, 10)


def _seen(held_s: float, parameters: dict[str, float] | None = None, **more: float) -> Observed:
    settings = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000, **more}
    return Observed(
        LOAD, settings, False, False, 0, 0, 0.0, held_s=held_s, parameters=parameters or {}
    )


def test_a_worker_that_waits_for_a_database_fails_when_its_time_is_out() -> None:
    # Inserts begin at 0.5, 1, 2.5 and 4; the trouble is from 1 to 4.2. The second and the third
    # fail after a second each, the fourth waits until the database is found to be back.
    fate = endure([0.0, 0.0, 0.0, 0.0], ONE, Care(), away(1, 3.2, 1))
    assert fate.given_up_s == pytest.approx([2.0, 3.5])
    assert (fate.failed, fate.lost, fate.dead_lettered) == (2, 2, 0)
    assert fate.rows_s == pytest.approx([0.5, 4.5])


def test_who_waits_when_the_database_comes_back_is_served() -> None:
    fate = endure([0.0], ONE, Care(), away(0, 1.0, 1))
    assert fate.lost == 0
    assert fate.rows_s == pytest.approx([1.3])


def test_retries_wait_1_2_and_4_seconds_beside_the_worker() -> None:
    assert Care(attempts=3).waits_s == 7
    # Fails at 1.5; again from 2.5 + 0.5, 6.0 + 0.5 and so on, a second each.
    fate = endure([0.0, 0.0], ONE, Care(attempts=3), away(0.4, 20, 1))
    assert fate.given_up_s[0] == pytest.approx(1.5 + 1 + 1.5 + 2 + 1.5 + 4 + 1.5)
    # The worker had taken the second long before that.
    assert fate.given_up_s[1] == pytest.approx(fate.given_up_s[0] + 1.5)
    saved = endure([0.0], ONE, Care(attempts=3), away(0.4, 4, 1))
    assert saved.lost == 0
    assert saved.rows_s == pytest.approx([6.0 + 0.5])


def test_a_dead_letter_queue_keeps_what_it_has_room_for() -> None:
    fate = endure([0.0] * 4, ONE, Care(letters=3), full(0, 100, 0))
    assert (fate.dead_lettered, fate.lost) == (3, 1)


def test_a_full_table_takes_what_still_fits() -> None:
    fate = endure([0.0] * 6, ONE, Care(), full(1, 1.6, 2))
    # Inserts at 0.5 to 3.0; those at 1.0, 1.5, 2.0 and 2.5 meet a table with room for two.
    assert fate.lost == 2


def test_only_the_chosen_fail() -> None:
    hit = every_nth(LOAD, 15, 7)
    places = [place for place in range(LOAD.events) if hit(place)]
    # Sequence 7 of each of eight producers, then sequence 22, and so on.
    assert places[:9] == [56, 57, 58, 59, 60, 61, 62, 63, 176]
    fate = endure(arrivals(LOAD), Intake(5, 0.05, 1000), Care(), chosen(0, 2.4, hit, 1.0))
    assert fate.lost == 8


def test_late_answers_fail_only_who_cannot_wait() -> None:
    assert endure([0.0], ONE, Care(), late(0, 9, 2.0, 5.0)).rows_s == pytest.approx([2.5])
    assert endure([0.0], ONE, Care(), late(0, 9, 2.0, 1.0)).lost == 1


def test_what_a_database_that_is_away_costs() -> None:
    # 5 workers fail each 0.55 s for 4 s: 36; and who waits at its end is served.
    predicted = failing(_seen(4), away(3, 4, 0.5), "away")
    assert predicted.lost == pytest.approx(5 * 4 / 0.55, abs=5)
    assert predicted.lost_tolerance >= 10
    assert predicted.duplicated_max == 0
    retried = failing(_seen(4, retry_attempts=3), away(3, 4, 0.5), "away")
    assert (retried.lost, retried.lost_tolerance, retried.duplicated_max) == (0, 0, 5)


def test_what_a_dead_letter_queue_cannot_hold_is_predicted_to_be_lost() -> None:
    care = {"retry_attempts": 3.0, "dead_letter_capacity": 10.0}
    predicted = failing(_seen(13, **care), away(2, 13, 0.5), "away")
    all_lost = failing(_seen(13, retry_attempts=3), away(2, 13, 0.5), "away")
    (letters,) = predicted.figures
    assert (letters.name, letters.value, letters.tolerance) == ("dead_lettered", 10, 5)
    assert all_lost.lost is not None
    assert predicted.lost == all_lost.lost - 10
    roomy = failing(_seen(13, **care | {"dead_letter_capacity": 1000}), away(2, 13, 0.5), "away")
    assert (roomy.lost, roomy.lost_tolerance) == (0, 0)
    assert roomy.figures[0].value == all_lost.lost


def test_what_a_slow_database_manages() -> None:
    predicted = slowed(_seen(5, {"latency_ms": 250}, database_timeout_s=5), 2, 3.0)
    (figure,) = predicted.figures
    assert predicted.lost == 0
    assert figure.value == pytest.approx(5 / 0.55, abs=1.1)
    impatient = slowed(_seen(4, {"latency_ms": 2000}, database_timeout_s=1), 2, 3.0)
    assert impatient.lost == pytest.approx(5 * 4 / 1.05, abs=6)
    assert impatient.figures[0].value == 0


def test_nothing_is_predicted_of_a_target_that_tells_nothing() -> None:
    seen = Observed(LOAD, {}, None, None, None, None, 0.0, held_s=4, parameters={"latency_ms": 1})
    assert failing(seen, away(3, 4, 0.5), "away").lost is None
    assert slowed(seen, 2, 3.0).lost is None

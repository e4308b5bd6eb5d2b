"""What the model says of a rolling update, by the worked numbers of scenario 4."""

from __future__ import annotations

import pytest

from experiments.grace import EXPERIMENT
from lossmeter.experiment import Load, Observed, Phase
from lossmeter.model import Predicted
from lossmeter.plan.predict.named import rollout_time as predict
from lossmeter.plan.predict.named import stop as drain


def observed(
    grace_s: float,
    pre_stop_s: float,
    shutdown: str,
    *,
    survives: bool = False,
    restart_s: float = 1.5,
) -> Observed:
    """Return two instances that hold 800 events each and 5 in hand."""
    return Observed(
        load=Load((Phase(100, 1),)),
        settings={
            "workers": 5,
            "handler_time_s": 0.05,
            "capacity": 1000,
            "sleep_s": 2,
            "drain_limit_s": 60,
        },
        queue_survives_crash=survives,
        in_hand_survives_crash=survives,
        queue_length=1600,
        in_flight=10,
        blind_s=0.0,
        choices={"shutdown": shutdown},
        start_s=1.0,
        restart_s=restart_s,
        parameters={"grace_s": grace_s, "pre_stop_s": pre_stop_s},
        instances=2,
        fault="rollout",
    )


def predicted(
    grace_s: float, pre_stop_s: float, shutdown: str, *, survives: bool = False
) -> Predicted:
    return predict(observed(grace_s, pre_stop_s, shutdown, survives=survives))


@pytest.mark.parametrize(
    ("grace_s", "pre_stop_s", "shutdown", "each"),
    [
        # 805 held, 2 s of work at 100 a second.
        (30, 0, "sleep", 605),
        (60, 0, "sleep", 605),
        # 5 s of preStop do 500 before SIGTERM.
        (30, 5, "sleep", 105),
        (30, 0, "drain", 0),
        (30, 5, "drain", 0),
        # The grace cuts the drain short.
        (5, 0, "drain", 305),
    ],
)
def test_each_instance_loses_what_it_cannot_finish(
    grace_s: float, pre_stop_s: float, shutdown: str, each: int
) -> None:
    assert predicted(grace_s, pre_stop_s, shutdown).lost == 2 * each


def test_a_restart_is_given_the_time_that_its_runtime_takes() -> None:
    prompt, slow = (
        drain(observed(30, 0, "sleep", restart_s=restart_s)).figures[0] for restart_s in (1.5, 2.5)
    )
    # 2 s of sleep and 1 s to start; a start may take twice as long.
    assert (prompt.name, prompt.value, prompt.tolerance) == ("outage_s", 3.0, 1.0 + 1.5)
    assert (slow.value, slow.tolerance) == (3.0, 1.0 + 2.5)


def test_what_is_in_a_broker_is_not_lost_whatever_the_grace() -> None:
    assert predicted(5, 0, "sleep", survives=True).lost == 0


@pytest.mark.parametrize(
    ("pre_stop_s", "shutdown", "survives", "each_s"),
    [
        (0, "sleep", False, 2),
        (5, "sleep", False, 5 + 2),
        # 805 held at 100 a second, looked at once a second.
        (0, "drain", False, 9),
        # 305 after a preStop that did 500.
        (5, "drain", False, 5 + 4),
        # What outlives the process is left to the others.
        (0, "drain", True, 1),
    ],
)
def test_the_update_takes_as_long_as_its_turns(
    pre_stop_s: float, shutdown: str, survives: bool, each_s: float
) -> None:
    figures = predicted(60, pre_stop_s, shutdown, survives=survives).figures
    (held,) = [figure for figure in figures if figure.name == "held_s"]
    assert held.value == 2 * (each_s + 1.0)


def test_a_pre_stop_that_takes_the_whole_grace_is_predicted_with_what_a_kubelet_gives() -> None:
    short = predicted(5, 5, "drain")

    assert short.lost == 2 * 305
    assert short.lost_tolerance >= 400
    assert "a kubelet gives 2 s at least" in short.tolerance_reason


def test_every_combination_of_the_mission_is_a_variant() -> None:
    names = {variant.name for variant in EXPERIMENT.variants}

    assert names == {
        f"{grace}s-pre{pre}-{shutdown}"
        for grace in (5, 30, 60)
        for pre in (0, 5)
        for shutdown in ("sleep", "drain")
    }

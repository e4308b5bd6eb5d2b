"""What is lost when the time to shut down is shorter than the queue is long (scenario 4)."""

from functools import partial

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import stop

# 500 queued, 5 workers of 50 ms: 5 s are needed, and today's dispatcher sleeps for 2 s.
RATE_PER_S = 200
DOCKER_STOP_S = 10
SHORT_S = 5
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}


def _stop(grace_s: float, queued: int) -> tuple[PlannedFault]:
    trigger = Trigger(condition=f"queue_length >= {queued}", at_s=queued / 100)
    return (PlannedFault("stop", trigger, parameters={"grace_s": grace_s}),)


_variant = partial(Variant, requires=("shutdown",))

EXPERIMENT = Experiment(
    name="short-grace",
    hypothesis=(
        "A dispatcher that sleeps 2 s at its end loses what its workers cannot finish in them, "
        "however long the grace; one that drains loses what it cannot finish in the grace."
    ),
    variants=(
        Variant("", steady(RATE_PER_S, 9), _stop(DOCKER_STOP_S, 500), SETTINGS),
        Variant(
            "5s",
            steady(RATE_PER_S, 9),
            _stop(SHORT_S, 500),
            SETTINGS,
            targets=("channel",),
        ),
        _variant(
            "5s-drain",
            steady(RATE_PER_S, 14),
            _stop(SHORT_S, 800),
            {**SETTINGS, "shutdown": "drain", "drain_limit_s": 30},
            targets=("channel",),
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=stop,
)

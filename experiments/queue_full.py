"""What happens when more comes than is handled, until the queue is full and beyond (scenario 2)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.overload import overload

# 200 events/s against 5 workers of 50 ms: the queue of 1000 is full after 10 s. Pushes then
# wait for 5 s; those sent from 15 s on wait in vain, and are given so from 20 s on.
RATE_PER_S = 200
LOAD_S = 18
CAPACITY = 1000
SETTINGS = {"handler_time_s": 0.05, "capacity": CAPACITY}


def _watched(capacity: int, within_s: float) -> tuple[PlannedFault]:
    parameters: dict[str, str | int | float] = {"length": capacity, "within_s": within_s}
    return (PlannedFault("full-queue", Trigger(), None, parameters),)


EXPERIMENT = Experiment(
    name="queue-full",
    hypothesis=(
        "At twice the rate that its workers handle a queue of 1000 is full after 10 s, and "
        "pushes sent 5 s later are refused; nothing that was acked is lost."
    ),
    variants=(
        Variant("", steady(RATE_PER_S, LOAD_S), _watched(CAPACITY, 14), SETTINGS),
        Variant(
            "larger",
            steady(RATE_PER_S, LOAD_S),
            _watched(2 * CAPACITY, LOAD_S),
            {**SETTINGS, "capacity": 2 * CAPACITY},
            targets=("channel",),
            remedy_of="default",
        ),
    ),
    targets=(
        "channel",
        "channel-reject",
        "channel-rate-limit",
        "channel-write-through",
        "channel-workers",
        "redis",
    ),
    predict=overload,
)

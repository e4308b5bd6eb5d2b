"""Ten times the rate for a few seconds: what a queue is there for (scenario 2)."""

from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.plan.predict.overload import overload

# The burst brings 400 events/s more than are handled: 1000 find room, those of its last half
# second do not, and wait for less than the 5 s that they may.
RATE_PER_S = 50
BURST_PER_S, BURST_S = 500, 3
CAPACITY = 1000
SETTINGS = {"handler_time_s": 0.05, "capacity": CAPACITY}
WATCHED: dict[str, str | int | float] = {"length": CAPACITY, "within_s": 8}

EXPERIMENT = Experiment(
    name="burst",
    hypothesis=(
        "A burst of ten times the rate that overflows the queue for half a second costs "
        "nothing where pushes may wait, and refusals where they may not."
    ),
    variants=(
        Variant(
            "",
            Load((Phase(RATE_PER_S, 3), Phase(BURST_PER_S, BURST_S), Phase(RATE_PER_S, 4))),
            (PlannedFault("full-queue", Trigger(), None, WATCHED),),
            SETTINGS,
        ),
    ),
    targets=("channel", "channel-reject", "channel-rate-limit", "channel-write-through", "redis"),
    predict=overload,
)

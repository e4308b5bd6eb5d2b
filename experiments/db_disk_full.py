"""What is lost while the disk of the database is full (scenario 3)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import database_full

RATE_PER_S = 50
FULL_AT_S, FULL_S = 3.0, 4.0
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000}

EXPERIMENT = Experiment(
    name="db-disk-full",
    hypothesis=(
        "While the database's disk is full a handler that logs and forgets loses all that it "
        "takes; one that tries again loses nothing if there is room within 7 s."
    ),
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 10),
            (PlannedFault("disk-full", Trigger(at_s=FULL_AT_S), FULL_S),),
            SETTINGS,
        ),
    ),
    targets=("channel", "channel-retry", "redis", "redis-retry-dlq"),
    predict=database_full,
)

"""What is lost when inserts deadlock with another application's transactions (scenario 3)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import database_deadlock

# 8 producers of 5 events/s each; every 15th of a producer's events deadlocks, so 8 each 3 s.
RATE_PER_S = 40
EVERY, REMAINDER, PAIRS = 15, 7, 8
LOCKED_AT_S, LOCKED_S = 3.0, 6.5
PARAMETERS: dict[str, str | int | float] = {
    "table": "notice",
    "every": EVERY,
    "remainder": REMAINDER,
    "pairs": PAIRS,
}
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000}

EXPERIMENT = Experiment(
    name="db-deadlock",
    hypothesis=(
        "An insert that PostgreSQL ends for a deadlock is lost where the handler logs and "
        "forgets, and saved where it tries again."
    ),
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 12),
            (PlannedFault("deadlock", Trigger(at_s=LOCKED_AT_S), LOCKED_S, PARAMETERS),),
            SETTINGS,
        ),
    ),
    targets=("channel", "channel-retry", "redis-retry-dlq"),
    predict=database_deadlock,
)

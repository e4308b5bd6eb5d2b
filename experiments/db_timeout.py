"""What is lost while the database does not answer, and nothing says so (scenario 3)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import database_away

RATE_PER_S = 50
HANGS_AT_S, HANGS_S = 3.0, 4.0
TIMEOUT_S = 0.5
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000, "database_timeout_s": TIMEOUT_S}

EXPERIMENT = Experiment(
    name="db-timeout",
    hypothesis=(
        "While connections to the database hang, a handler that logs and forgets loses what it "
        "takes; one that tries again loses nothing, and may insert an event twice."
    ),
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 10),
            (
                PlannedFault(
                    "partition",
                    Trigger(at_s=HANGS_AT_S),
                    HANGS_S,
                    {"servers": "postgres"},
                ),
            ),
            SETTINGS,
            requires=("database_timeout_s",),
        ),
    ),
    targets=("channel", "channel-retry", "redis-retry-dlq"),
    predict=database_away,
)

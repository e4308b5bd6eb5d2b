"""What is lost while the database refuses connections (scenario 3)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import database_away

RATE_PER_S = 50
DOWN_AT_S, DOWN_S = 3.0, 4.0
# Who asks for a connection waits for it this long; so each worker fails twice a second.
TIMEOUT_S = 0.5
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000, "database_timeout_s": TIMEOUT_S}

EXPERIMENT = Experiment(
    name="db-down",
    hypothesis=(
        "While the database refuses connections a handler that logs and forgets loses what it "
        "takes; one that tries again after 1, 2 and 4 s loses nothing in 4 s."
    ),
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 10),
            (PlannedFault("proxy-down", Trigger(at_s=DOWN_AT_S), DOWN_S),),
            SETTINGS,
            requires=("database_timeout_s",),
        ),
    ),
    targets=("channel", "channel-retry", "redis", "redis-retry-dlq", "kafka-retry-dlq"),
    predict=database_away,
)

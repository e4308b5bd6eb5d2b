"""What is lost when the dispatcher is killed while events wait for a retry (scenarios 1 and 3)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import kill

RATE_PER_S = 50
# 5 workers fail twice a second each for 2.5 s; when the kill comes many of these wait.
DOWN_AT_S, DOWN_S = 3.0, 2.5
KILL_AT_S = DOWN_AT_S + DOWN_S
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000, "database_timeout_s": 0.5}

EXPERIMENT = Experiment(
    name="crash-retrying",
    hypothesis=(
        "What waits for a retry is in memory and dies with the process, unless the queue keeps "
        "what is not acknowledged."
    ),
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 12),
            (
                PlannedFault("proxy-down", Trigger(at_s=DOWN_AT_S), DOWN_S),
                PlannedFault("sigkill", Trigger(at_s=KILL_AT_S)),
            ),
            SETTINGS,
            requires=("database_timeout_s",),
        ),
    ),
    targets=("channel-retry", "redis-retry-dlq"),
    predict=kill,
)

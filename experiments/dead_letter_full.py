"""What a bounded dead-letter queue cannot hold when the database stays away (scenario 3)."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import database_away

RATE_PER_S = 50
# Longer than all retries together, so that what fails first is given up.
DOWN_AT_S, DOWN_S = 2.0, 13.0
TIMEOUT_S = 0.5
LETTERS = 10
SETTINGS = {
    "handler_time_s": 0.05,
    "capacity": 1000,
    "database_timeout_s": TIMEOUT_S,
    "dead_letter_capacity": LETTERS,
}

EXPERIMENT = Experiment(
    name="dead-letter-full",
    hypothesis=(
        "What is given up goes into the dead-letter queue until it is full; the overflow is "
        "lost, and known to be lost of that."
    ),
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 15),
            (PlannedFault("proxy-down", Trigger(at_s=DOWN_AT_S), DOWN_S),),
            SETTINGS,
            requires=("database_timeout_s",),
        ),
    ),
    targets=("channel-retry", "channel-retry-dlq", "redis-retry-dlq"),
    predict=database_away,
)

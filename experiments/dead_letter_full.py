"""What a bounded dead-letter queue cannot hold when the database stays away (scenario 3)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.database import away, failing

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


def predict(seen: Observed) -> Predicted:
    """Expect what is given up to be kept as long as there is room, and lost beyond."""
    trouble = away(DOWN_AT_S, seen.held_s or DOWN_S, TIMEOUT_S)
    return failing(seen, trouble, "the database refused connections")


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
    predict=predict,
)

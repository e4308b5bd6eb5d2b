"""What is lost while the database does not answer, and nothing says so (scenario 3)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.database import away, failing

RATE_PER_S = 50
HANGS_AT_S, HANGS_S = 3.0, 4.0
TIMEOUT_S = 0.5
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000, "database_timeout_s": TIMEOUT_S}


def predict(seen: Observed) -> Predicted:
    """Expect each insert to fail when its time is out; retries outlast the 4 s."""
    trouble = away(HANGS_AT_S, seen.held_s or HANGS_S, TIMEOUT_S)
    return failing(seen, trouble, "the database did not answer")


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
    predict=predict,
)

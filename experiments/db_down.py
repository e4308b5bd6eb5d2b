"""What is lost while the database refuses connections (scenario 3)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.database import away, failing

RATE_PER_S = 50
DOWN_AT_S, DOWN_S = 3.0, 4.0
# Who asks for a connection waits for it this long; so each worker fails twice a second.
TIMEOUT_S = 0.5
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000, "database_timeout_s": TIMEOUT_S}


def predict(seen: Observed) -> Predicted:
    """Expect each worker to fail again and again; retries outlast the 4 s."""
    trouble = away(DOWN_AT_S, seen.held_s or DOWN_S, TIMEOUT_S)
    return failing(seen, trouble, "the database refused connections")


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
    predict=predict,
)

"""What is lost when inserts deadlock with another application's transactions (scenario 3)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.database import Slack, chosen, every_nth, failing

# 8 producers of 5 events/s each; every 15th of a producer's events deadlocks, so 8 each 3 s.
RATE_PER_S = 40
EVERY, REMAINDER, PAIRS = 15, 7, 8
LOCKED_AT_S, LOCKED_S = 3.0, 6.5
# PostgreSQL looks for deadlocks when somebody has waited for a second (deadlock_timeout).
FOUND_AFTER_S = 1.0
PARAMETERS: dict[str, str | int | float] = {
    "table": "notice",
    "every": EVERY,
    "remainder": REMAINDER,
    "pairs": PAIRS,
}
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000}
SLACK = Slack(3, "between two meetings a competing transaction is not there for a moment")


def predict(seen: Observed) -> Predicted:
    """Expect each chosen insert to be ended for a deadlock, a second after it began."""
    hit = every_nth(seen.load, EVERY, REMAINDER)
    trouble = chosen(LOCKED_AT_S, LOCKED_S, hit, FOUND_AFTER_S)
    return failing(seen, trouble, "chosen inserts deadlocked", SLACK)


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
    predict=predict,
)

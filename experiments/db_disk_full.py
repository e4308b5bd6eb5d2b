"""What is lost while the disk of the database is full (scenario 3)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.database import Slack, failing, full

RATE_PER_S = 50
FULL_AT_S, FULL_S = 3.0, 4.0
# The last page of the table has room for some more rows: a page of 8 KiB holds some 50.
PAGE_ROWS = 50
SLACK = Slack(
    PAGE_ROWS // 2 + 10,
    f"the last page has room for 0 to {PAGE_ROWS} rows, and filling the disk takes a moment",
)
SETTINGS = {"handler_time_s": 0.05, "capacity": 1000}


def predict(seen: Observed) -> Predicted:
    """Expect every insert to fail at once, but for those that the last page has room for."""
    held_s = seen.held_s or FULL_S
    trouble = full(FULL_AT_S, held_s, PAGE_ROWS // 2)
    return failing(seen, trouble, "the database's disk was full", SLACK)


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
    predict=predict,
)

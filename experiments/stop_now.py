"""What is lost by a stop that waits for nothing: ``docker stop --time=0`` (scenario 4)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.crash import at_kill, crash
from harness.predict.shutdown import stop, stop_of

RATE_PER_S = 200
GRACE_S = 0
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}


def predict(seen: Observed) -> Predicted:
    """Expect to lose as much as by a kill: SIGTERM comes first, and nothing follows from it."""
    asked = stop_of(seen, RATE_PER_S, GRACE_S)
    if asked is None:
        at = at_kill(seen, RATE_PER_S)
        return crash(at, seen.queue_survives_crash, seen.in_hand_survives_crash)
    return stop(asked, seen.queue_survives_crash, seen.in_hand_survives_crash)


EXPERIMENT = Experiment(
    name="stop-now",
    hypothesis="A stop without a grace sends SIGTERM first, and loses as much as SIGKILL.",
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 8),
            (
                PlannedFault(
                    "stop",
                    Trigger(condition="queue_length >= 500", at_s=5.0),
                    parameters={"grace_s": GRACE_S},
                ),
            ),
            SETTINGS,
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=predict,
)

"""What is lost when the dispatcher aborts by an error that nobody handles (scenario 1)."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.crash import at_kill, crash

RATE_PER_S = 200
SETTINGS: dict[str, str | int | float] = {
    "workers": 5,
    "handler_time_s": 0.05,
    "capacity": 1000,
    "panic_endpoint": "true",
}


def predict(seen: Observed) -> Predicted:
    """Expect to lose as much as by a kill: an abort has no time for anything."""
    at = at_kill(seen, RATE_PER_S)
    return crash(at, seen.queue_survives_crash, seen.in_hand_survives_crash)


EXPERIMENT = Experiment(
    name="panic",
    hypothesis="A dispatcher that aborts by an unhandled error loses as much as by SIGKILL.",
    variants=(
        Variant(
            "",
            steady(RATE_PER_S, 8),
            (PlannedFault("panic", Trigger(condition="queue_length >= 500", at_s=5.0)),),
            SETTINGS,
            requires=("panic_endpoint",),
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=predict,
)

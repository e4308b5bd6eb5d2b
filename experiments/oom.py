"""Who runs out of memory by its own backlog, and what that loses (scenario 1)."""

from harness.experiment import Experiment, Load, Observed, Phase, PlannedFault, Trigger, Variant
from harness.model import Predicted
from harness.predict.crash import at_kill, crash

RATE_PER_S = 200
# 200 events/s against 100/s: 12 MiB more of backlog each second, 100 MiB in the end. That is
# far more than the headroom and the cached files of the program, which the kernel takes away
# before it kills; while it does, a backlog that grows slowly hardly grows at all.
PAYLOAD_BYTES = 131072
# It is never full: a push that waits for room is in the dispatcher's memory, whoever queues.
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1500}
LIMIT: dict[str, str | int | float] = {"headroom_mib": 40, "within_s": 8}


def predict(seen: Observed) -> Predicted:
    """Expect a queue in memory to bring the kernel down on it, and one elsewhere not to."""
    if not seen.struck:
        lives = seen.queue_survives_crash
        return Predicted(
            lost=0 if lives else None,
            duplicated_max=0,
            basis="it lived: its backlog is not in its own memory" if lives else "it lived",
        )
    at = at_kill(seen, RATE_PER_S)
    return crash(at, seen.queue_survives_crash, seen.in_hand_survives_crash)


EXPERIMENT = Experiment(
    name="oom",
    hypothesis=(
        "A backlog kills the dispatcher that keeps it in its own memory, and is lost with it; "
        "one that keeps it in a broker lives."
    ),
    variants=(
        Variant(
            "",
            Load((Phase(RATE_PER_S, 10),), payload_bytes=PAYLOAD_BYTES),
            (PlannedFault("oom", Trigger(at_s=1.5), parameters=LIMIT),),
            SETTINGS,
        ),
    ),
    targets=("channel", "redis-list", "redis", "kafka"),
    predict=predict,
)

"""Who runs out of memory by its own backlog, and what that loses (scenario 1)."""

from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.plan.predict.named import kill

RATE_PER_S = 200
# 200 events/s against 100/s: 12 MiB more of backlog each second, 100 MiB in the end. That is
# far more than the headroom and the cached files of the program, which the kernel takes away
# before it kills; while it does, a backlog that grows slowly hardly grows at all.
PAYLOAD_BYTES = 131072
# It is never full: a push that waits for room is in the dispatcher's memory, whoever queues.
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1500}
LIMIT: dict[str, str | int | float] = {"headroom_mib": 40, "within_s": 8}

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
    predict=kill,
)

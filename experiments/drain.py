"""Whether draining at the end loses nothing, with a plain stop and in the kubelet's order."""

from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.plan.predict.named import stop

RATE_PER_S = 200
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}
PLAIN: dict[str, str | int | float] = {"grace_s": 30}
# preStop counts towards the grace; events still come while it lasts, so 300 become 800.
KUBELET: dict[str, str | int | float] = {"grace_s": 60, "pre_stop_s": 5}


def _stop(queued: int, parameters: dict[str, str | int | float]) -> tuple[PlannedFault]:
    trigger = Trigger(condition=f"queue_length >= {queued}", at_s=queued / 100)
    return (PlannedFault("stop", trigger, parameters=parameters),)


EXPERIMENT = Experiment(
    name="drain",
    hypothesis=(
        "A dispatcher that drains before it ends loses nothing, if its grace is longer than "
        "its queue; the same stop costs one that sleeps 2 s what is left."
    ),
    variants=(
        Variant("", steady(RATE_PER_S, 13), _stop(500, PLAIN), SETTINGS),
        Variant("kubelet", steady(RATE_PER_S, 19), _stop(300, KUBELET), SETTINGS),
    ),
    targets=("channel", "channel-drain"),
    predict=stop,
)

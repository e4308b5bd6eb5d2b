"""Whether draining at the end loses nothing, with a plain stop and in the kubelet's order."""

from harness.experiment import Experiment, Observed, PlannedFault, Trigger, Variant, steady
from harness.model import Predicted
from harness.predict.shutdown import stop, stop_of

RATE_PER_S = 200
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}
PLAIN: dict[str, str | int | float] = {"grace_s": 30}
# preStop counts towards the grace; events still come while it lasts, so 300 become 800.
KUBELET: dict[str, str | int | float] = {"grace_s": 60, "pre_stop_s": 5}


def predict(seen: Observed) -> Predicted:
    """Expect nothing to be lost where the dispatcher drains and the grace is long enough."""
    parameters = seen.parameters
    grace_s, pre_stop_s = parameters["grace_s"], parameters.get("pre_stop_s", 0)
    asked = stop_of(seen, RATE_PER_S, grace_s, pre_stop_s)
    if asked is None:
        return Predicted(basis="the target file does not say how it shuts down")
    return stop(asked, seen.queue_survives_crash, seen.in_hand_survives_crash)


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
    predict=predict,
)

"""What a rolling update of two instances under load costs (scenarios 1 and 4)."""

from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.plan.predict.named import rollout

INSTANCES = 2
# A burst fills both queues to about 300, then as much comes as one instance can do.
BURST_PER_S, BURST_S = 400, 3
RATE_PER_S = 100
GRACE_S = 30
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 1000}

EXPERIMENT = Experiment(
    name="rollout",
    hypothesis=(
        "A rolling update of two instances leaves no time without service, and loses only what "
        "an instance that does not drain leaves in its memory."
    ),
    variants=(
        Variant(
            "",
            Load((Phase(BURST_PER_S, BURST_S), Phase(RATE_PER_S, 12))),
            (
                PlannedFault(
                    "rollout", Trigger(at_s=BURST_S + 0.2), parameters={"grace_s": GRACE_S}
                ),
            ),
            SETTINGS,
            instances=INSTANCES,
        ),
    ),
    targets=("channel", "channel-drain", "redis", "kafka"),
    predict=rollout,
)

"""What grace, preStop and shutdown are worth in a rolling update (scenario 4).

Two instances hold about 800 events each when the update begins; then as much comes as one of
them can do. Today's dispatcher sleeps 2 s at its end, the other drains.
"""

from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.plan.predict.named import rollout_time

INSTANCES = 2
BURST_PER_S, BURST_S = 600, 4
RATE_PER_S = 100
GRACES_S = (5, 30, 60)
PRE_STOPS_S = (0, 5)
SLEEP_S = 2
# Room for the whole backlog, also where both share one queue: nobody waits for it.
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 2000}
# How long a new instance may take to be ready, where an engine makes its container.
START_S = 6


def _variant(grace_s: int, pre_stop_s: int, shutdown: str) -> Variant:
    works_s = SLEEP_S if shutdown == "sleep" else min(grace_s, 10)
    tail_s = INSTANCES * (pre_stop_s + works_s + START_S)
    return Variant(
        f"{grace_s}s-pre{pre_stop_s}-{shutdown}",
        Load((Phase(BURST_PER_S, BURST_S), Phase(RATE_PER_S, tail_s))),
        (
            PlannedFault(
                "rollout",
                Trigger(at_s=BURST_S + 0.2),
                parameters={"grace_s": grace_s, "pre_stop_s": pre_stop_s},
            ),
        ),
        {**SETTINGS, "shutdown": shutdown, "sleep_s": SLEEP_S, "drain_limit_s": 60},
        requires=("shutdown",),
        instances=INSTANCES,
    )


EXPERIMENT = Experiment(
    name="grace",
    hypothesis=(
        "A rolling update loses what an instance holds in memory and cannot finish between "
        "SIGTERM and SIGKILL; a preStop of 5 s saves what is done in it, a longer grace only "
        "what a dispatcher that drains does in it."
    ),
    variants=tuple(
        _variant(grace_s, pre_stop_s, shutdown)
        for shutdown in ("sleep", "drain")
        for pre_stop_s in PRE_STOPS_S
        for grace_s in GRACES_S
    ),
    targets=("channel", "redis", "kafka"),
    predict=rollout_time,
    by_name_only=True,
)

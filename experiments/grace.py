"""What grace, preStop and shutdown are worth in a rolling update (scenario 4).

Two instances hold about 800 events each when the update begins; then as much comes as one of
them can do. Today's dispatcher sleeps 2 s at its end, the other drains.
"""

from dataclasses import replace

from harness.experiment import Experiment, Load, Observed, Phase, PlannedFault, Trigger, Variant
from harness.model import Expected, Predicted
from harness.predict.shutdown import rollout, rollout_s, stop_of

INSTANCES = 2
BURST_PER_S, BURST_S = 600, 4
RATE_PER_S = 100
GRACES_S = (5, 30, 60)
PRE_STOPS_S = (0, 5)
SLEEP_S = 2
# Room for the whole backlog, also where both share one queue: nobody waits for it.
SETTINGS = {"workers": 5, "handler_time_s": 0.05, "capacity": 2000}
# A kubelet whose preStop took the whole grace gives as much before SIGKILL, other runtimes
# nothing (minimumGracePeriodInSeconds in pkg/kubelet/kuberuntime).
LEAST_S = 2
# How long a new instance may take to be ready, where an engine makes its container.
START_S = 6


def predict(seen: Observed) -> Predicted:
    """Expect each instance to lose what it cannot finish between SIGTERM and SIGKILL."""
    grace_s, pre_stop_s = seen.parameters["grace_s"], seen.parameters["pre_stop_s"]
    asked = stop_of(seen, RATE_PER_S, grace_s, pre_stop_s)
    survives = seen.queue_survives_crash, seen.in_hand_survives_crash
    if asked is None or None in survives or seen.queue_length is None:
        return Predicted(basis="the target does not tell enough of itself")
    predicted = rollout(asked, INSTANCES, bool(survives[0]), bool(survives[1]))
    if predicted.lost and grace_s - pre_stop_s < LEAST_S:
        most = round(INSTANCES * LEAST_S * asked.dispatcher.service_rate_per_s)
        predicted = replace(
            predicted,
            lost_tolerance=predicted.lost_tolerance + most,
            tolerance_reason=f"{predicted.tolerance_reason}; a kubelet gives {LEAST_S} s at least",
        )
    took_s = rollout_s(asked, INSTANCES, bool(survives[0]))
    reason = f"each start may take {START_S} s more; a cluster starts the next while one ends"
    figure = Expected(
        "held_s", round(took_s, 1), round(took_s / 2 + INSTANCES * START_S, 1), reason
    )
    return replace(predicted, figures=(*predicted.figures, figure))


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
    predict=predict,
    by_name_only=True,
)

"""Every fault, each in a load of a few seconds: what the kill script kills."""

from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.model import Predicted

LOAD = Load((Phase(100, 3),))
SETTINGS = {"workers": 5, "handler_time_s": 0.02, "capacity": 1000, "database_timeout_s": 0.5}
REJECT: dict[str, str | int | float] = {"table": "notice", "every": 2, "remainder": 0}
# Name of the variant, fault, parameters, seconds held, instances.
_PLANNED: tuple[tuple[str, str, dict[str, str | int | float], float | None, int], ...] = (
    ("sigkill", "sigkill", {}, 0.0, 1),
    ("stop", "stop", {"grace_s": 1}, 0.0, 1),
    ("stop-pre-stop", "stop", {"grace_s": 2, "pre_stop_s": 1}, 0.0, 1),
    ("panic", "panic", {}, 0.0, 1),
    ("pause", "pause", {}, 1.0, 1),
    ("oom", "oom", {"headroom_mib": 16, "within_s": 2}, 0.0, 1),
    ("replace", "replace", {"grace_s": 2}, 0.0, 1),
    ("latency", "latency", {"latency_ms": 250}, 1.0, 1),
    ("proxy-down", "proxy-down", {}, 1.0, 1),
    ("partition", "partition", {"servers": "redis kafka postgres"}, 1.0, 1),
    ("server-kill", "server-kill", {"servers": "redis kafka postgres"}, 1.0, 1),
    ("power-loss", "power-loss", {}, 0.0, 1),
    ("disk-full", "disk-full", {}, 2.0, 1),
    ("deadlock", "deadlock", {**REJECT, "every": 15, "remainder": 7, "pairs": 8}, 2.0, 1),
    ("disconnect", "disconnect", {}, 1.0, 1),
    ("pod-delete", "pod-delete", {"grace_s": 1}, 0.0, 1),
    ("evict", "evict", {}, 0.0, 1),
    ("node-drain", "node-drain", {}, 0.0, 1),
    ("rollout", "rollout", {"grace_s": 2}, 0.0, 2),
    ("scale-down", "scale-down", {"to": 1}, 0.0, 2),
)


def _variants() -> list[Variant]:
    timed = [
        Variant(
            name,
            LOAD,
            (PlannedFault(fault, Trigger(at_s=1.0), hold_s, parameters),),
            {**SETTINGS, "panic_endpoint": "true"} if fault == "panic" else SETTINGS,
            instances=instances,
        )
        for name, fault, parameters, hold_s, instances in _PLANNED
    ]
    rejecting = PlannedFault("reject-rows", Trigger(load="before"), None, REJECT)
    watched = PlannedFault("full-queue", Trigger(), None, {"length": 5, "within_s": 3})
    alarmed = PlannedFault("memory-alarm", Trigger(at_s=1.0), 1.0)
    full = {**SETTINGS, "capacity": 5, "handler_time_s": 0.5, "push_timeout_s": 0.2}
    return [
        *timed,
        Variant("reject-rows", LOAD, (rejecting,), SETTINGS),
        Variant("full-queue", LOAD, (watched,), full),
        Variant("memory-alarm", LOAD, (alarmed,), SETTINGS),
    ]


EXPERIMENT = Experiment(
    name="short-faults",
    hypothesis="Whatever ends a run, nothing of it is left.",
    variants=tuple(_variants()),
    targets=("channel",),
    predict=lambda _: Predicted(basis="nothing is predicted"),
    bounds={"max_lost": 1000, "max_duplicated": 1000},
)

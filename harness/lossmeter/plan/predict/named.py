"""The predictions that an experiment can ask for by name.

Each takes all that it needs from what was observed, so that it follows the load, the fault
and the settings of any experiment: those of a file, and those of a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps

from lossmeter.experiment import Observed
from lossmeter.model import Expected, Predicted, plural
from lossmeter.plan.predict import broker, crash, database, power, shutdown
from lossmeter.plan.predict.overload import overload
from lossmeter.plan.predict.queue import Dispatcher
from lossmeter.plan.predict.safe import figure
from lossmeter.plan.predict.slow import slow_handler
from lossmeter.plan.processes import LEAST_GRACE_S

Predict = Callable[[Observed], Predicted]

_SHUTDOWN = "the target file does not say how it shuts down, or how long a handler takes"
_NUMBERS = "the target file does not tell workers, handler and capacity"

BROKERS = ("redis", "kafka", "rabbitmq")
THROUGHPUT_TOLERANCE = 0.03
# A page of a table is 8 KiB, and holds some 50 rows; the last one has room for some more.
PAGE_ROWS = 50
# PostgreSQL looks for deadlocks when somebody has waited for a second (deadlock_timeout).
DEADLOCK_FOUND_S = 1.0
# A pooled connection is asked whether it lives, and then for the insert. Preparing the
# statement takes a third round trip once, and a new connection its greeting and login first.
ROUND_TRIPS = 2
# How long a new instance may take to be ready, where an engine makes its container.
START_S = 6


def nothing(_: Observed) -> Predicted:
    """Expect nothing in particular."""
    return Predicted(basis="the experiment asks for no prediction")


def no_loss(seen: Observed) -> Predicted:
    """Expect each event to be persisted exactly once."""
    return Predicted(
        lost=0, duplicated_max=0, basis=f"no fault, {plural(seen.load.events, 'event')}"
    )


def _of_a_fault(predict: Predict) -> Predict:
    """Return a prediction that expects no loss of a run without a fault."""

    @wraps(predict)
    def either(seen: Observed) -> Predicted:
        return predict(seen) if seen.fault else no_loss(seen)

    return either


@_of_a_fault
def known_rows(seen: Observed) -> Predicted:
    """Expect to lose the events of the schedule that the database refuses, and no others."""
    every, remainder = (int(seen.parameters[name]) for name in ("every", "remainder"))
    lost = sum(
        len(range(remainder, seen.load.sent_by(producer), every)) for producer in seen.load.ids
    )
    basis = f"the database refuses each sequence with remainder {remainder} of {every}"
    return Predicted(lost=lost, duplicated_max=0, basis=basis)


@_of_a_fault
def removed_rows(seen: Observed) -> Predicted:
    """Expect to lose the events that are taken out of the store, and no others."""
    count = int(seen.parameters["count"])
    return Predicted(
        lost=count, duplicated_max=0, basis=f"{count:,} events are taken out of the store"
    )


def throughput(seen: Observed) -> Predicted:
    """Expect no loss, and as much out as in, as long as the workers can."""
    numbers = seen.settings
    if not {"workers", "capacity"} <= set(numbers) or not numbers.get("handler_time_s"):
        return Predicted(basis=_NUMBERS)
    modelled = Dispatcher(
        seen.load.events / seen.load.duration_s,
        workers=int(numbers["workers"]),
        handler_time_s=numbers["handler_time_s"],
        capacity=int(numbers["capacity"]),
    )
    per_s = modelled.throughput_per_s
    reason = f"the first and last of {seen.load.duration_s:g} s of load are not cut sharply"
    figures = [Expected("throughput_per_s", per_s, THROUGHPUT_TOLERANCE * per_s, reason)]
    if not modelled.backlog_growth_per_s:
        figures.append(Expected("refused", 0, 0, "the workers keep the queue empty"))
    basis = f"no fault, {modelled.basis}"
    return Predicted(lost=0, duplicated_max=0, basis=basis, figures=tuple(figures))


# The target dies or ends.


@_of_a_fault
def kill(seen: Observed) -> Predicted:
    """Expect to lose what was in memory at the kill, as the probe last saw it."""
    survives = seen.queue_survives_crash
    if not seen.struck and seen.fault == "oom":
        return Predicted(
            lost=0 if survives else None,
            duplicated_max=0,
            basis="it lived: its backlog is not in its own memory" if survives else "it lived",
        )
    return crash.crash(crash.at_kill(seen), survives, seen.in_hand_survives_crash)


@_of_a_fault
def stop(seen: Observed) -> Predicted:
    """Expect to lose what the workers cannot finish in the time that there is."""
    asked = _stop_of(seen)
    if asked is None:
        # SIGTERM comes first, and nothing follows from it.
        return kill(seen) if not seen.parameters["grace_s"] else Predicted(basis=_SHUTDOWN)
    return shutdown.stop(asked, seen.queue_survives_crash, seen.in_hand_survives_crash)


@_of_a_fault
def rollout(seen: Observed) -> Predicted:
    """Expect each instance to lose what a stop of it alone would."""
    asked, survives = _stop_of(seen), seen.queue_survives_crash
    hands = seen.in_hand_survives_crash
    if asked is None or survives is None or hands is None or seen.queue_length is None:
        return Predicted(basis="the target does not tell enough of itself")
    return shutdown.rollout(asked, seen.instances, survives, hands)


@_of_a_fault
def rollout_time(seen: Observed) -> Predicted:
    """Expect the same, with the least that a kubelet gives, and how long the update takes."""
    predicted, asked = rollout(seen), _stop_of(seen)
    if asked is None or predicted.lost is None:
        return predicted
    if predicted.lost and asked.dispatcher.grace_s < LEAST_GRACE_S:
        most = round(seen.instances * LEAST_GRACE_S * asked.dispatcher.service_rate_per_s)
        predicted = replace(
            predicted,
            lost_tolerance=predicted.lost_tolerance + most,
            tolerance_reason=f"{predicted.tolerance_reason}; a kubelet gives {LEAST_GRACE_S} s "
            "at least",
        )
    took_s = shutdown.rollout_s(asked, seen.instances, bool(seen.queue_survives_crash))
    reason = f"each start may take {START_S} s more; a cluster starts the next while one ends"
    late_s = took_s / 2 + seen.instances * START_S
    figures = (*predicted.figures, figure("held_s", took_s, late_s, 1, reason))
    return replace(predicted, figures=figures)


def _stop_of(seen: Observed) -> shutdown.PlannedStop | None:
    given = seen.parameters
    return shutdown.stop_of(seen, given["grace_s"], given.get("pre_stop_s", 0.0))


@_of_a_fault
def power_loss(seen: Observed) -> Predicted:
    """Expect memory to be gone, and what the broker had acked and not flushed."""
    handler_time_s = seen.settings.get("handler_time_s")
    if not handler_time_s:
        return Predicted(basis="the target file does not say how long a handler takes")
    return power.power_loss(
        power.Machine(
            at=crash.at_kill(seen),
            service_rate_per_s=seen.settings.get("workers", 0) / handler_time_s,
            queue_survives=seen.queue_survives_crash,
            in_hand_survives=seen.in_hand_survives_crash,
            services=seen.services,
            choices=seen.choices,
        )
    )


# Its servers fail.


@_of_a_fault
def broker_away(seen: Observed) -> Predicted:
    """Expect a durable broker to lose nothing, and nobody to be acked while it is away."""
    return broker.away(
        broker.Away(
            broker=next((name for name in BROKERS if name in seen.services), ""),
            held_s=seen.held_s,
            killed=seen.fault == "server-kill",
            queue_length=seen.queue_length,
            in_hand_survives=bool(seen.in_hand_survives_crash),
            workers=int(seen.settings.get("workers", 0)),
            rate_per_s=seen.rate_per_s,
            choices=seen.choices,
        )
    )


@_of_a_fault
def database_away(seen: Observed) -> Predicted:
    """Expect each worker to fail again and again, each time when its time-out is over."""
    timeout_s = seen.settings.get("database_timeout_s")
    if timeout_s is None:
        return Predicted(basis="it is not known how long an insert waits: database_timeout_s")
    trouble = database.away(seen.at_s, _held_s(seen), timeout_s)
    how = "did not answer" if seen.fault == "partition" else "refused connections"
    return database.failing(seen, trouble, f"the database {how}")


@_of_a_fault
def database_full(seen: Observed) -> Predicted:
    """Expect every insert to fail at once, but for those that the last page has room for."""
    slack = database.Slack(
        PAGE_ROWS // 2 + 10,
        f"the last page has room for 0 to {PAGE_ROWS} rows, and filling the disk takes a moment",
    )
    trouble = database.full(seen.at_s, _held_s(seen), PAGE_ROWS // 2)
    return database.failing(seen, trouble, "the database's disk was full", slack)


@_of_a_fault
def database_deadlock(seen: Observed) -> Predicted:
    """Expect each chosen insert to be ended for a deadlock, a second after it began."""
    every, remainder = (int(seen.parameters[name]) for name in ("every", "remainder"))
    hit = database.every_nth(seen.load, every, remainder)
    trouble = database.chosen(seen.at_s, seen.hold_s or 0.0, hit, DEADLOCK_FOUND_S)
    why = "between two meetings a competing transaction is not there for a moment"
    return database.failing(seen, trouble, "chosen inserts deadlocked", database.Slack(3, why))


@_of_a_fault
def database_slow(seen: Observed) -> Predicted:
    """Expect each worker to do one insert in two round trips, and all of them in the end."""
    return database.slowed(seen, ROUND_TRIPS, seen.at_s)


def _held_s(seen: Observed) -> float:
    return seen.held_s or seen.hold_s or 0.0


# What a fault must have been given, as numbers, for these.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "known-rows": ("every", "remainder"),
    "removed-rows": ("count",),
    "stop": ("grace_s",),
    "rollout": ("grace_s",),
    "rollout-time": ("grace_s",),
    "database-deadlock": ("every", "remainder"),
    "database-slow": ("latency_ms",),
}

PREDICTIONS: Mapping[str, Predict] = {
    "none": nothing,
    "no-loss": no_loss,
    "known-rows": known_rows,
    "removed-rows": removed_rows,
    "throughput": throughput,
    "crash": kill,
    "stop": stop,
    "rollout": rollout,
    "rollout-time": rollout_time,
    "power-loss": power_loss,
    "overload": overload,
    "slow-handler": slow_handler,
    "broker-away": broker_away,
    "database-away": database_away,
    "database-full": database_full,
    "database-deadlock": database_deadlock,
    "database-slow": database_slow,
}

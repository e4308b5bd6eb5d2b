"""Measures what an ack is worth: the same load under each fault, per target and ack level."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lossmeter.errors import UsageError
from lossmeter.experiment import Experiment, Load, Phase, PlannedFault, Trigger, Variant
from lossmeter.model import HELD, Predicted, Verdict
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.target import Target
from lossmeter.record.facts import Facts
from lossmeter.record.files import read_bytes, why, write_bytes
from lossmeter.record.result import Result
from lossmeter.run.admission import check
from lossmeter.studies.worth import Window, Worth
from lossmeter.world.runtime import Runtime

# 200 events/s against 100: a backlog grows in whatever the target queues in. Payloads are
# large enough that a backlog in memory meets a limit of memory within the load.
LOAD = Load(phases=(Phase(200, 8),), payload_bytes=65536)
SETTINGS: Mapping[str, str | int | float] = {
    "workers": 5,
    "handler_time_s": 0.05,
    "capacity": 1000,
}
_AT = Trigger(condition="queue_length >= 200", at_s=2.5)
_EARLY = Trigger(condition="queue_length >= 50", at_s=1.0)

FAULTS: Mapping[str, PlannedFault] = {
    "SIGKILL": PlannedFault("sigkill", _AT),
    "stop": PlannedFault("stop", _AT, parameters={"grace_s": 10}),
    "OOM": PlannedFault("oom", _EARLY, parameters={"headroom_mib": 16, "within_s": 8}),
    "power loss": PlannedFault("power-loss", _AT),
}
POWER = "power loss"

# The same ack comes from a broker, which can be killed too.
BROKERS = ("redis", "kafka", "rabbitmq")
BROKER = "SIGKILL of the broker"
BROKER_FAULT = PlannedFault("server-kill", _AT, parameters={"servers": " ".join(BROKERS)})

ALL = (*FAULTS, BROKER)

HOW = (
    f"Load: {LOAD.phases[0].rate_per_s:g} events of {LOAD.payload_bytes // 1024} KiB a second for "
    f"{LOAD.duration_s:g} s, "
    f"against {SETTINGS['workers']} workers that need {SETTINGS['handler_time_s']} s each. The "
    "fault comes when 200 events are queued, where the target tells; a stop gives 10 s, and the "
    "kernel ends a target for want of memory when it gets to that. What is inserted by then is "
    "with the database, so a cell of some 200 events means all that was under way."
)

# A producer that waits for no answer learns no offsets, so its dispatcher cannot tell how much
# is queued; the fault comes at its time instead.
NO_ACKS = "0"

# How many of its nodes a broker waits for before it acks; for targets that can be asked.
ACKS: Mapping[str, Mapping[str, str | int | float]] = {
    "acks = 1": {"acks": "1"},
    "acks = 0": {"acks": NO_ACKS},
}

# What decides whether a broker's ack outlives a loss of power; a process that is killed
# does not test it, since its writes are with the kernel by then.
FLUSHING: Mapping[str, Mapping[str, str | int | float]] = {
    "redis.appendfsync = always": {"redis.appendfsync": "always"},
    "redis.appendfsync = no": {"redis.appendfsync": "no"},
    "kafka.log.flush.interval.messages = 1": {"kafka.log.flush.interval.messages": "1"},
    "postgres.synchronous_commit = off": {"postgres.synchronous_commit": "off"},
}


_ROWS = TypeAdapter(list[Worth])

# Whatever is lost is the measurement; a run that says nothing is not.
_ANY = Budget(max_loss_ratio=1.0)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run to be made: the row and column that it fills, and why it cannot be made."""

    worth: Worth
    fault: str
    cell: Cell
    why_not: str | None


def trials(targets: Sequence[Target], runtime: Runtime) -> list[Trial]:
    """Return all runs: each fault on each target and ack level, and each way of flushing."""
    made = []
    for target in targets:
        shipped: Mapping[str, Mapping[str, str | int | float]] = {"": {}}
        levels = {**shipped, **(ACKS if "acks" in target.settings else {})}
        for words, settings in levels.items():
            worth = Worth(target.name, words, target.ack_level)
            made += [
                _trial(worth, name, target, settings, runtime)
                for name in ALL
                if name != BROKER or set(BROKERS) & set(target.services)
            ]
        for words, settings in FLUSHING.items():
            if words.partition(".")[0] in target.services:
                other = Worth(target.name, words, target.ack_level)
                made.append(_trial(other, POWER, target, settings, runtime))
    return made


def _trial(
    worth: Worth,
    fault: str,
    target: Target,
    settings: Mapping[str, str | int | float],
    runtime: Runtime,
) -> Trial:
    planned = BROKER_FAULT if fault == BROKER else FAULTS[fault]
    if settings.get("acks") == NO_ACKS:
        planned = replace(planned, trigger=replace(planned.trigger, condition=None))
    variant = Variant("", LOAD, (planned,), {**SETTINGS, **settings})
    experiment = Experiment(
        name=f"durability-{fault.lower().replace(' ', '-')}",
        hypothesis="What was acked is persisted in the end.",
        variants=(variant,),
        targets=(target.name,),
        predict=lambda _: Predicted(),
    )
    cell = Cell(experiment, variant, target, _ANY)
    try:
        why_not = check(cell, runtime)
    except UsageError as error:
        why_not = str(error)
    return Trial(worth, fault, cell, why_not)


@dataclass(frozen=True, slots=True)
class Ran:
    """One run that was made; ``survived``: the target outlived the limit that the fault set."""

    result: Result
    survived: bool = False

    @classmethod
    def in_folder(cls, result: Result, folder: Path) -> Ran:
        """Return a run with what its folder says of its faults."""
        return cls(result, any(each.survived for each in Facts.load(folder).faults))


def measure(
    asked: Sequence[Trial], run: Callable[[Cell], Ran]
) -> Iterator[tuple[Trial, Result | None]]:
    """Make each run that can be made, and note what it shows; results as they come.

    Raises:
        UsageError: at the end, the first that was raised; it stopped no other run.
    """
    problems: list[UsageError] = []
    for trial in asked:
        ran, why_not = None, trial.why_not
        if not why_not:
            try:
                ran = run(trial.cell)
            except UsageError as error:
                problems.append(error)
                why_not = str(error)
        trial.worth.windows[trial.fault] = _window(replace(trial, why_not=why_not), ran)
        yield trial, ran.result if ran else None
    if problems:
        raise problems[0]


def rows(asked: Sequence[Trial]) -> list[Worth]:
    """Return the rows that the trials fill, each once, in order."""
    return list({id(trial.worth): trial.worth for trial in asked}.values())


def keep(path: Path, measured: Sequence[Worth]) -> list[Worth]:
    """Add rows to those of earlier measurements and save them; return all.

    What was measured again takes the place of what was measured before; a run that said
    nothing does not.

    Raises:
        UsageError: the file is there and holds no rows.
    """
    known: dict[tuple[str, str], Worth] = {}
    try:
        earlier = _ROWS.validate_json(read_bytes(path)) if os.path.lexists(path) else []
    except OSError as error:
        raise UsageError(f"{path} cannot be read: it {why(error)}") from None
    except ValidationError:
        raise UsageError(
            f"{path} does not hold what `lossmeter durability --save` writes; remove it, or "
            "restore it from version control"
        ) from None
    for worth in [*earlier, *measured]:
        before = known.get((worth.target, worth.setting))
        windows = dict(before.windows) if before else {}
        for fault, window in worth.windows.items():
            if window.lost is not None or fault not in windows:
                windows[fault] = window
        windows = {fault: windows[fault] for fault in ALL if fault in windows}
        known[worth.target, worth.setting] = replace(worth, windows=windows)
    kept = sorted(known.values(), key=lambda worth: worth.target)
    write_bytes(path, _ROWS.dump_json(kept, indent=2) + b"\n")
    return kept


def _window(trial: Trial, ran: Ran | None) -> Window:
    if ran is None:
        return Window(note=trial.why_not or "")
    result = ran.result
    if result.verdict in {Verdict.ERROR, Verdict.INCONCLUSIVE}:
        # Where it lies on this machine is nobody else's business.
        reason = re.sub(rf"\S*(?={re.escape(result.run_id)})", "", result.reason)
        return Window(note=f"{result.verdict} on {result.target}: {reason}")
    held = {name: number for name in HELD if (number := result.count(name))}
    if ran.survived:
        if not trial.cell.target.behaviour.queue_survives_crash:
            return Window(note="the kernel did not end it in time, though its backlog grew in it")
        note = "it lived: its backlog is not in its own memory"
        return Window(result.counts.lost, result.volatile_ms, note, held)
    return Window(result.counts.lost, result.volatile_ms, held=held)

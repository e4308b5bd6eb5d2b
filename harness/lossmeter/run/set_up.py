"""What a run is made of, before it begins: its folder, its facts, and what its runtime is to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from lossmeter.experiment import Variant
from lossmeter.faults._fault import choose
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.queued import PENDING, redelivered_after_s
from lossmeter.record.facts import Facts
from lossmeter.record.runs import slug
from lossmeter.run.admission import disks_of, proxy_in, services_of, strikes_servers
from lossmeter.run.conclusion import Show
from lossmeter.run.monitor.watch import Watch
from lossmeter.run.narrator import Narrator
from lossmeter.world.auditor import Auditor, auditor, blind_s
from lossmeter.world.claims import Claims
from lossmeter.world.interpolation import interpolate, reachable
from lossmeter.world.queues import queue_options
from lossmeter.world.queues._held import HeldByBroker
from lossmeter.world.runtime import Order, RunningSite, Runtime
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.site import Probe

# The names of runs, which have their second in them: nobody wants one of a while ago.
_NAMES = Claims(most=4)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of ``run``.

    Attributes:
        runs: the folder that gets the run's folder.
        root_seed: what the seed was derived from; None when from nothing.
        repeat: the number of the run among repeats of the same.
        watch: what watches the run as its owners would; None for nothing.
        pool: keeps servers between this run and others; None for servers of its own.
        at_once: how many runs there may be side by side, this one among them.
        again_for: the run that lacked CPU beside others, in whose place this one is made alone.
        show: gets the judgement of a run that was neither interrupted nor refused.
    """

    cell: Cell
    runtime: Runtime
    seed: int
    runs: Path
    narrator: Narrator
    root_seed: int | None = None
    repeat: int = 0
    watch: Watch | None = None
    pool: ServerPool | None = None
    at_once: int = 1
    again_for: str = ""
    show: Show | None = None


def new_folder(ask: Ask) -> Path:
    """Make the folder of a run, named after the time, the cell and the seed."""
    ask.runs.mkdir(parents=True, exist_ok=True)
    while True:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = ask.runs / f"{now}-{slug(ask.cell.name)}-{ask.seed}"
        # What is started bears this name, whichever folder the runs of others go into.
        if _NAMES.take(f"run-{folder.name}"):
            with suppress(FileExistsError):
                folder.mkdir()
                return folder.resolve()
        # Two runs of one experiment within a second: the next second's name is free.
        time.sleep(0.1)


def facts_of(ask: Ask, run_id: str) -> Facts:
    """Return what is known of a run before it begins."""
    cell, load = ask.cell, ask.cell.variant.load
    return Facts(
        run_id=run_id,
        begun_ns=time.time_ns(),
        experiment=cell.name,
        asked=dict(cell.asked),
        load_scale=cell.load_scale,
        redelivered_after_s=redelivered_after_s(cell.target.queue),
        stranded_measured=PENDING in (cell.target.queue or {}),
        hypothesis=cell.experiment.hypothesis,
        target=cell.target.name,
        ack_level=cell.target.ack_level,
        runtime=ask.runtime.name,
        seed=ask.seed,
        root_seed=ask.seed if ask.root_seed is None else ask.root_seed,
        repeat=ask.repeat,
        stages_marked=cell.target.stages,
        events_planned=load.events,
        rate_per_s=load.events / load.duration_s,
        exact=cell.experiment.exact,
        budget=cell.budget,
        at_once=ask.at_once,
        again_for=ask.again_for,
    )


def order_of(ask: Ask, folder: Path, probe: Callable[[str], Probe]) -> Order:
    """Return what a runtime is to bring up."""
    cell, target = ask.cell, ask.cell.target
    services = services_of(cell)
    load = cell.variant.load
    return Order(
        run_id=folder.name,
        folder=folder,
        target=target,
        services=[services[name] for name in target.services],
        servers=cell.servers(),
        disks=disks_of(cell),
        instances=cell.variant.instances,
        **graces(cell.variant),
        load_pods=load.processes if load.pods else 0,
        proxy=proxy_in(services),
        settings=cell.environment(),
        # What kills a server meets one that has not served another run.
        pool=None if strikes_servers(cell) else ask.pool,
        probe=probe,
        say=ask.narrator.say,
    )


class Graces(TypedDict, total=False):
    """What ``Order`` hears of the time that the target has to end."""

    grace_s: float
    pre_stop_s: float


def graces(variant: Variant) -> Graces:
    """Return the longest grace and preStop that a fault of the variant asks the runtime for."""
    chosen = [choose(fault.fault, fault.parameters) for fault in variant.faults]
    known = [asked for each in chosen if (asked := each.asked.graces()) is not None]
    if not known:
        return {}
    grace_s, pre_stop_s = max(known)
    return {"grace_s": grace_s, "pre_stop_s": pre_stop_s}


def broker_of(cell: Cell, site: RunningSite) -> HeldByBroker | None:
    """Return what reads the events that the target's broker holds; None where nothing does.

    Raises:
        UsageError: it cannot be read as asked.
    """
    target = cell.target
    if target.queue is None:
        return None
    values = reachable(site.endpoints, proxied=False)
    options = queue_options(target.name, target.queue)
    ids = options.ids(lambda text: interpolate(text, values, target.name))
    if ids is None:
        return None
    # Who takes an event at the last moment may work on it for as long as ever.
    promised_s = (redelivered_after_s(target.queue) or 0.0) + blind_s(longest_s(cell.numbers()))
    return HeldByBroker(ids, promised_s)


def auditor_of(
    cell: Cell, site: RunningSite, shared: Path, broker: HeldByBroker | None = None
) -> Auditor:
    """Return what reads the rows that the target persists.

    Raises:
        UsageError: its store cannot be read as asked.
    """
    target = cell.target
    values = reachable(site.endpoints, proxied=False)
    values |= {"python": sys.executable, "run_folder": str(shared)}
    return auditor(
        target.name,
        target.persisted,
        lambda text: interpolate(text, values, target.name),
        handler_time_s=longest_s(cell.numbers()),
        folder=shared,
        broker=broker,
    )


def longest_s(numbers: Mapping[str, float]) -> float:
    """Return how long the target may work on one event before a row comes."""
    parts = ("handler_time_s", "query_s", "external_s", "logic_s")
    return sum(numbers.get(part, 0.0) for part in parts)

"""What may be run: whatever cannot be is refused or skipped before anything is started."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from lossmeter.errors import UnavailableError, UsageError
from lossmeter.experiment import REPORTED_METRICS, PlannedFault
from lossmeter.faults._fault import Chosen, Strikes, choose, clash
from lossmeter.load.ingress import options_of
from lossmeter.model import Address
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.contradictions import check_contradictions, unsuited
from lossmeter.plan.predict.named import BROKERS
from lossmeter.plan.refusal import Refusal
from lossmeter.plan.target import Target
from lossmeter.plugins import EXTRAS, lacking, unknown
from lossmeter.world import services as service_package
from lossmeter.world.caller import Caller
from lossmeter.world.interpolation import interpolate
from lossmeter.world.queues import queue_options
from lossmeter.world.runtime import Runtime
from lossmeter.world.runtimes import local
from lossmeter.world.service import ProxyService, Service, Slot
from lossmeter.world.site import Rolling
from lossmeter.world.stores import store_options

FOREVER = float("inf")
# Stands for where a server will be.
_SOMEWHERE = Address("127.0.0.1", 1)


def check(cell: Cell, runtime: Runtime) -> str | None:
    """Return why a cell cannot be run on a runtime, before anything is started, or None.

    Raises:
        UsageError: the cell names something that does not exist, or contradicts itself.
        UnavailableError: it takes packages that are not installed.
    """
    refused = refusal(cell, runtime)
    return refused.why if refused else None


def refusal(cell: Cell, runtime: Runtime) -> Refusal | None:
    """Return the same with its short form, for the cell of a table.

    Raises:
        UsageError, UnavailableError: as ``check``.
    """
    _check_installed(cell, runtime)
    check_server_settings(cell)
    faults = chosen_of(cell)
    for chosen in faults:
        _check_servers_exist(chosen)
        _check_process_exists(chosen, cell)
    _check_kinds(cell)
    check_contradictions(cell, _away(cell))
    check_overlaps(cell)
    if why := runtime.refuses(cell.target):
        return Refusal(f"not on {runtime.name}", why)
    if refused := unsuited(cell) or _without_setting(cell):
        return refused
    have = runtime.capabilities(cell.target)
    if cell.variant.instances > 1 and Rolling not in have:
        why = f"runtime {runtime.name} has one instance only of target {cell.target.name}"
        return Refusal("one instance", why)
    for chosen in faults:
        if refused := _pointless(chosen, cell.target) or _unable(chosen, have, cell, runtime):
            return refused
    return None


def _without_setting(cell: Cell) -> Refusal | None:
    lacking, target = cell.lacks(), cell.target.name
    if lacking is None:
        return None
    why = f"target {target} has no setting {lacking}, which {cell.name} varies"
    return Refusal(f"no {lacking.replace('_', ' ')}", why)


def _unable(chosen: Chosen, have: frozenset[type], cell: Cell, runtime: Runtime) -> Refusal | None:
    for need in chosen.needs:
        if need not in have:
            why = (
                f"fault {chosen.kind.name()} needs a target that is {need.__name__.lower()}, "
                f"and on runtime {runtime.name} target {cell.target.name} is not "
                f"({_first_line(need)})"
            )
            return Refusal(f"no {chosen.kind.name()} here", why)
    return None


def _check_installed(cell: Cell, runtime: Runtime) -> None:
    needed = [each for service in services_of(cell).values() for each in service.needs]
    if runtime.name == local.RUNTIME.name:
        needed += [each for extra in cell.target.extras for each in EXTRAS[extra]]
    if (why := lacking(dict.fromkeys(needed))) is not None:
        raise UnavailableError(f"target {cell.target.name}: {why}")


def _check_kinds(cell: Cell) -> None:
    """Check what the target's file names elsewhere: kinds, secrets, certificates.

    Raises:
        UsageError: a kind does not exist, or does not take what the table says; a secret or
            certificate is not there; or the load does not come from here, where an ingress
            program runs.
    """
    target, load = cell.target, cell.variant.load
    _check_store(cell)
    try:
        Caller(target.http)
    except UsageError as error:
        raise UsageError(f"target {target.name}: {error}") from None
    if target.queue is not None:
        queue_options(target.name, target.queue)
    if target.ingress is None:
        return
    options_of(target.name, target.ingress)
    if load.pods or load.listen:
        raise UsageError(
            f"target {target.name} has an ingress program, which runs on this machine; leave out "
            "--load-pods and --load-listen"
        )


def _check_store(cell: Cell) -> None:
    """Check ``[persisted]``, and that the servers that it names are the target's.

    Raises:
        UsageError: the kind does not exist, does not take this, or names another server.
    """
    target, place = cell.target, Slot(Path("/"), _SOMEWHERE, _SOMEWHERE, "")
    known = {"python": "/", "run_folder": "/"} | {
        f"{name}.{key}": value
        for name, service in services_of(cell).items()
        for key, value in service.variables(place, _SOMEWHERE).items()
    }
    where = f"{target.name}: persisted"
    options = store_options(target.name, target.persisted.table)
    options.open(lambda text: interpolate(text, known, where))


def needs_alone(cell: Cell, runtime: Runtime) -> str | None:
    """Return why nothing may run beside a cell, or None."""
    if not runtime.side_by_side:
        return f"runtime {runtime.name} is not known to keep cells apart"
    if cell.experiment.alone or cell.variant.tuned:
        return "it measures what the machine can do"
    if cell.target.attach is not None:
        return "its target is not started for it, and is there once"
    if any(process.port for process in cell.target.processes):
        return "its target listens at a port of its own, and can do so once"
    if cell.variant.load.listen:
        return "its load processes report at one address"
    struck = (each.kind.name() for each in chosen_of(cell) if each.kind.whole_machine)
    return next((f"fault {name} concerns the whole machine" for name in struck), None)


def chosen_of(cell: Cell) -> list[Chosen]:
    """Return the faults of a cell with their checked parameters; none is built.

    Raises:
        UsageError: there is no fault of that name, or its parameters are wrong.
    """
    return [choose(each.fault, each.parameters) for each in cell.variant.faults]


def _away(cell: Cell) -> dict[str, str]:
    """Return the servers that faults of a cell take away, each with the name of the fault."""
    return {
        server: chosen.kind.name()
        for chosen in chosen_of(cell)
        if chosen.kind.takes_away
        for server in chosen.struck(cell.target.services)
    }


def _check_servers_exist(chosen: Chosen) -> None:
    known = service_package.discover()
    for name in chosen.servers:
        if name not in known:
            why = unknown("server", name, known)
            raise UsageError(f"fault {chosen.kind.name()}: {why}")


def _check_process_exists(chosen: Chosen, cell: Cell) -> None:
    target, named = cell.target, chosen.process
    if not named or target.attach:
        return
    known = {
        name: process
        for process in target.processes
        for name in (
            process.name,
            *process.instances(target.count_of(process, cell.variant.instances)),
        )
    }
    where = f"{cell.name}: fault {chosen.kind.name()}"
    if named not in known:
        raise UsageError(f"{where}: {unknown(f'process of target {target.name}', named, known)}")
    if chosen.kind.over_http and not known[named].listens:
        raise UsageError(
            f"{where} is asked for over HTTP, and process {named} of target {target.name} has no "
            "port; name one that has"
        )


def _pointless(chosen: Chosen, target: Target) -> Refusal | None:
    """Return why a fault at servers means nothing to a target, or None."""
    proxied = Strikes.WAY in chosen.kind.strikes
    if not chosen.at_servers or chosen.struck(target.proxied if proxied else target.services):
        return None
    how = "reaches through the proxy" if proxied else "uses"
    named = " or ".join(chosen.servers) or "a server"
    why = (
        f"fault {chosen.kind.name()} needs a target that {how} {named}, and target "
        f"{target.name} does not"
    )
    if chosen.struck(target.services):
        return Refusal("no proxy", why)
    return Refusal("no broker" if set(chosen.servers) == set(BROKERS) else f"no {named}", why)


def _first_line(capability: type) -> str:
    return (capability.__doc__ or "").partition("\n")[0].rstrip(".")


# Faults at the same time.


def check_overlaps(cell: Cell) -> None:
    """Make sure that no two faults of known times strike the same thing at once.

    Where a condition decides when one comes, the run itself sees to it.

    Raises:
        UsageError: two do.
    """
    target, planned = cell.target, cell.variant.faults
    timed = [
        (each, chosen, span)
        for each, chosen in zip(planned, chosen_of(cell), strict=True)
        if (span := _span(each, target)) is not None
    ]
    for (one, its, first), (other, others, second) in combinations(timed, 2):
        if first[0] > second[1] or second[0] > first[1]:
            continue
        if what := clash(its, others, target.services):
            raise UsageError(
                f"{cell.name} on {target.name}: faults {one.fault} ({_in_words(one, first)}) and "
                f"{other.fault} ({_in_words(other, second)}) both strike {what}; let the one be "
                "healed before the other comes"
            )


def _span(planned: PlannedFault, target: Target) -> tuple[float, float] | None:
    """Return from when until when a fault holds at least, seconds of the load; None if unknown."""
    trigger, hold_s = planned.trigger, planned.hold_s
    if trigger.load == "before":
        return -FOREVER, FOREVER
    if trigger.step is not None and target.stages:
        # It freezes the target again and again until an event is at the step.
        return 0.0, FOREVER
    reported = trigger.metric() in REPORTED_METRICS
    if trigger.condition is not None and not (reported and not target.reports_queue):
        return None
    return trigger.at_s, FOREVER if hold_s is None else trigger.at_s + hold_s


def _in_words(planned: PlannedFault, span: tuple[float, float]) -> str:
    begin, end = span
    if begin < 0:
        return "from before the load on"
    if planned.trigger.step is not None:
        return f"aimed at {planned.trigger.step}"
    if end == FOREVER:
        return f"from {begin:g} s on"
    return f"at {begin:g} s" if begin == end else f"{begin:g} to {end:g} s"


# Servers.


def check_server_settings(cell: Cell) -> None:
    """Make sure that each server knows what it is to be set to.

    Raises:
        UsageError: a server, a setting or a value does not exist.
    """
    services = services_of(cell)
    for server, settings in cell.servers().items():
        known = services[server].settings
        for name, value in settings.items():
            if name not in known:
                raise UsageError(unknown(f"setting of server {server}", name, known))
            if value not in known[name]:
                raise UsageError(
                    f"{server}.{name} is {value!r}; right is {' or '.join(known[name])}"
                )


def services_of(cell: Cell) -> dict[str, Service]:
    """Return the servers that a cell needs, by name, the proxy included.

    Raises:
        UsageError: the target names a server that does not exist.
    """
    known = service_package.discover()
    for name in cell.target.services:
        if name not in known:
            raise UsageError(f"target {cell.target.name}: " + unknown("service", name, known))
    wanted = {name: known[name] for name in cell.target.services}
    proxy = proxy_in(known) if cell.target.proxied else None
    return wanted if proxy is None else wanted | {proxy.name: proxy}


def proxy_in(services: dict[str, Service]) -> ProxyService | None:
    """Return the server among these that holds the proxies in front of others."""
    return next((each for each in services.values() if isinstance(each, ProxyService)), None)


def disks_of(cell: Cell) -> frozenset[str]:
    """Return the servers of a cell that some fault wants on a disk of their own."""
    at_disks = [c for c in chosen_of(cell) if Strikes.DISK in c.kind.strikes]
    used = cell.target.services
    return frozenset(name for c in at_disks for name in used if name in (c.servers or used))


def strikes_servers(cell: Cell) -> bool:
    """Return whether a fault of a cell strikes servers themselves, not only the way to them."""
    struck = {strike for chosen in chosen_of(cell) for strike in chosen.kind.strikes}
    return bool(struck & {Strikes.SERVER, Strikes.DISK, Strikes.MEMORY})

"""What may be run: whatever cannot be is refused or skipped before anything is started."""

from __future__ import annotations

from harness import services as service_package
from harness.catalogue import Cell
from harness.conduct import build_fault
from harness.contradictions import check_contradictions
from harness.errors import UsageError
from harness.plugins import unknown
from harness.runtime import Runtime
from harness.service import Service
from harness.site import AtServers, DiskFillable, Fault, PowerCut, Rolling, ServersKillable
from harness.target import Target

PROXY = "toxiproxy"

# Faults after which a server does not answer until they are healed.
TAKE_AWAY = frozenset({"server-kill", "proxy-down", "partition", "power-loss"})

STRIKES: frozenset[type] = frozenset({ServersKillable, PowerCut, DiskFillable})


def check(cell: Cell, runtime: Runtime) -> str | None:
    """Return why a cell cannot be run on a runtime, before anything is started, or None.

    Raises:
        UsageError: the cell names something that does not exist, or contradicts itself.
    """
    check_server_settings(cell)
    check_contradictions(cell, _away(cell))
    if why := runtime.refuses(cell.target):
        return why
    if lacking := cell.lacks():
        return f"target {cell.target.name} has no setting {lacking}, which {cell.name} varies"
    have = runtime.capabilities(cell.target)
    if cell.variant.instances > 1 and Rolling not in have:
        return f"runtime {runtime.name} has one instance only of target {cell.target.name}"
    for planned in cell.variant.faults:
        fault = build_fault(planned)
        if why := _pointless(planned.fault, fault, cell.target):
            return why
        for need in fault.needs:
            if need not in have:
                return (
                    f"fault {planned.fault} needs a target that is {need.__name__.lower()}, "
                    f"and on runtime {runtime.name} target {cell.target.name} is not "
                    f"({_first_line(need)})"
                )
    return None


def _away(cell: Cell) -> dict[str, str]:
    """Return the servers that faults of a cell take away, each with the name of the fault."""
    away: dict[str, str] = {}
    for planned in cell.variant.faults:
        fault = build_fault(planned)
        if planned.fault not in TAKE_AWAY or not isinstance(fault, AtServers):
            continue
        hit = [name for name in fault.servers if name in cell.target.services]
        away |= dict.fromkeys(hit[:1], planned.fault)
    return away


def _pointless(name: str, fault: Fault, target: Target) -> str | None:
    """Return why a fault at servers means nothing to a target, or None."""
    if not isinstance(fault, AtServers):
        return None
    proxied = fault.way == "proxied"
    if set(fault.servers) & set(target.proxied if proxied else target.services):
        return None
    how = "reaches through the proxy" if proxied else "uses"
    return (
        f"fault {name} needs a target that {how} {' or '.join(fault.servers)}, and target "
        f"{target.name} does not"
    )


def _first_line(capability: type) -> str:
    return (capability.__doc__ or "").partition("\n")[0].rstrip(".")


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
    wanted = [*cell.target.services, *([PROXY] if cell.target.proxied else [])]
    for name in wanted:
        if name not in known:
            raise UsageError(f"target {cell.target.name}: " + unknown("service", name, known))
    return {name: known[name] for name in wanted}


def disks_of(cell: Cell) -> frozenset[str]:
    """Return the servers of a cell that some fault wants on a disk of their own."""
    faults = map(build_fault, cell.variant.faults)
    hit = [f.servers for f in faults if isinstance(f, AtServers) and f.way == "disk"]
    return frozenset(cell.target.services) & {name for names in hit for name in names}


def strikes_servers(cell: Cell) -> bool:
    """Return whether a fault of a cell strikes servers themselves, not only the way to them."""
    needs = {need for fault in map(build_fault, cell.variant.faults) for need in fault.needs}
    return bool(needs & STRIKES)

"""What a fault may see: the capability Protocols of a running target.

A runtime returns a ``Site``; which of the capabilities it has differs between runtimes. A
fault names the ones that it needs, and a runtime without them is a named skip.

| file | what |
|---|---|
| site | the running target, its servers and the health probe |
| seen | what is read there, as values |
| target | what may be done to the target itself |
| cluster | what may be done to it where an orchestrator runs it |
| store | what may be done to what the target persisted |
| servers | what may be done to the servers, their disks, and the way to them |
"""

from __future__ import annotations

from lossmeter.world.site.cluster import Drainable, Orchestrated, PodRemovable, Scalable
from lossmeter.world.site.seen import (
    Disk,
    Endpoint,
    Event,
    Exit,
    Incarnation,
    LogLine,
    Memory,
    Process,
    Removed,
    Rolled,
    Room,
    Sample,
    Stopped,
    Toxic,
)
from lossmeter.world.site.servers import (
    Accountable,
    Alarmable,
    DiskFillable,
    PowerCut,
    Proxied,
    ProxyControl,
    ServersKillable,
    ServersLogged,
)
from lossmeter.world.site.site import Probe, Site
from lossmeter.world.site.store import RowsRemovable
from lossmeter.world.site.target import (
    Disconnectable,
    Ending,
    Grouped,
    Killable,
    MemoryLimited,
    Pausable,
    ProcessTree,
    Recorded,
    Replaceable,
    RestartedByPolicy,
    Rolling,
    Startable,
    Stoppable,
)

__all__ = [
    "Accountable",
    "Alarmable",
    "Disconnectable",
    "Disk",
    "DiskFillable",
    "Drainable",
    "Ending",
    "Endpoint",
    "Event",
    "Exit",
    "Grouped",
    "Incarnation",
    "Killable",
    "LogLine",
    "Memory",
    "MemoryLimited",
    "Orchestrated",
    "Pausable",
    "PodRemovable",
    "PowerCut",
    "Probe",
    "Process",
    "ProcessTree",
    "Proxied",
    "ProxyControl",
    "Recorded",
    "Removed",
    "Replaceable",
    "RestartedByPolicy",
    "Rolled",
    "Rolling",
    "Room",
    "RowsRemovable",
    "Sample",
    "Scalable",
    "ServersKillable",
    "ServersLogged",
    "Site",
    "Startable",
    "Stoppable",
    "Stopped",
    "Toxic",
]

"""Real servers; one file per server, registered by existing.

Each public module offers ``SERVICE``, a ``lossmeter.world.service.Service``. Modules import what is
heavy inside their functions, so that looking through all of them costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache

from lossmeter.plugins import names_in
from lossmeter.world.service import Service


@cache
def discover() -> dict[str, Service]:
    """Return every service by its name."""
    package = sys.modules[__name__]
    modules = (
        importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        for name in names_in(package)
    )
    services: list[Service] = [module.SERVICE for module in modules]
    return {service.name: service for service in services}

"""Queue backends; one file each, registered by existing.

The file ``redis_list.py`` serves ``QUEUE__TYPE`` ``redis-list`` and offers
``build(settings, workers) -> Queue``.
"""

from __future__ import annotations

import importlib
import pkgutil

from lossmeter_dispatcher.config import ConfigurationError, QueueSettings
from lossmeter_dispatcher.queues.protocol import Queue

_NOT_BACKENDS = {"protocol"}


def backends() -> list[str]:
    """Return the types that there are."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(n.replace("_", "-") for n in names if n not in _NOT_BACKENDS and n[0] != "_")


def build(settings: QueueSettings, workers: int) -> Queue:
    """Return the queue that the settings name, not yet open.

    Raises:
        ConfigurationError: there is no such backend.
    """
    if settings.type not in backends():
        raise ConfigurationError(
            f"DISPATCHER_QUEUE__TYPE {settings.type!r} does not exist; known are "
            + ", ".join(backends())
        )
    module = importlib.import_module(f"{__name__}.{settings.type.replace('-', '_')}")
    queue: Queue = module.build(settings, workers)
    return queue

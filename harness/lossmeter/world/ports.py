"""Free ports on the loopback that stay free across a restart."""

from __future__ import annotations

import random
import socket

from lossmeter.errors import ServiceError
from lossmeter.world.claims import Claims

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes ports for outgoing connections: what is restarted
# by a fault must find its port free, whatever its clients opened meanwhile.
_RANGE = range(20000, 32000)

# A port is free until the server listens, which may be seconds later, and again whenever a fault
# has struck the server: of two processes that look meanwhile, both would find it free. What this
# one asked for so many ports ago has long begun to listen, or is over.
_CLAIMS = Claims(most=256)


def free_port() -> int:
    """Return a free port that stays free until the server is started again."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different free ports.

    Raises:
        ServiceError: there are not so many free ports in the range.
    """
    order = random.SystemRandom().sample(_RANGE, k=len(_RANGE))
    ports: list[int] = []
    for port in order:
        if len(ports) == count:
            break
        if is_free(LOOPBACK, port) and _CLAIMS.take(f"port-{port}"):
            ports.append(port)
    if len(ports) < count:
        raise ServiceError(
            f"fewer than {count} ports between {_RANGE.start} and {_RANGE.stop - 1} are free on "
            f"{LOOPBACK}; stop what listens there"
        )
    return ports


def is_free(host: str, port: int) -> bool:
    """Return whether nothing listens on a port."""
    with socket.socket() as probe:
        # Connections that linger after a restart do not keep a server from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True

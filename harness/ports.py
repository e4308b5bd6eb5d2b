"""Free ports on the loopback that stay free across a restart."""

from __future__ import annotations

import random
import socket

from harness.errors import ServiceError

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes ports for outgoing connections: what is restarted
# by a fault must find its port free, whatever its clients opened meanwhile.
_RANGE = range(20000, 32000)


def free_port(host: str = LOOPBACK) -> int:
    """Return a free port that stays free until the server is started again.

    Raises:
        ServiceError: no port in the range is free.
    """
    for _ in range(200):
        # Two runs at once must not try the same ports in the same order.
        port = random.SystemRandom().choice(_RANGE)
        if is_free(host, port):
            return port
    raise ServiceError(
        f"no free port was found between {_RANGE.start} and {_RANGE.stop - 1} on {host}; "
        "stop something that listens there"
    )


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

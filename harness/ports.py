"""Free ports on the loopback that stay free across a restart."""

from __future__ import annotations

import random
import socket

from harness.errors import ServiceError

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes ports for outgoing connections: what is restarted
# by a fault must find its port free, whatever its clients opened meanwhile.
_RANGE = range(20000, 32000)


def free_port() -> int:
    """Return a free port that stays free until the server is started again."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different free ports.

    Raises:
        ServiceError: there are not so many free ports in the range.
    """
    # Two runs at once must not try the same ports in the same order.
    order = random.SystemRandom().sample(_RANGE, k=len(_RANGE))
    ports: list[int] = []
    for port in order:
        if len(ports) == count:
            return ports
        if is_free(LOOPBACK, port):
            ports.append(port)
    raise ServiceError(
        f"fewer than {count} ports between {_RANGE.start} and {_RANGE.stop - 1} are free on "
        f"{LOOPBACK}; stop what listens there"
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

"""Small things that the servers have in common: private files and a fixed free port."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from harness.errors import ServiceError

# Below the range from which Linux takes ports for outgoing connections: a server that is
# restarted by a fault must find its port free, whatever its clients opened meanwhile.
_FIXED_PORTS = range(20000, 32000)


def write_private(path: Path, text: str) -> None:
    """Write a file that only the owner of its folder can read."""
    owner = path.parent.stat()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(text)


def fixed_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return different free ports that stay free until the server is started again.

    Raises:
        ServiceError: there are not so many free ports in the range.
    """
    ports: list[int] = []
    # Two runs at once must not try the same ports in the same order.
    order = random.SystemRandom().sample(_FIXED_PORTS, k=200)
    with ExitStack() as held:
        while len(ports) < count:
            if not order:
                raise ServiceError(
                    f"fewer than {count} ports between {_FIXED_PORTS.start} and "
                    f"{_FIXED_PORTS.stop - 1} are free on {host}; stop what listens there"
                )
            probe = held.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind((host, order[-1]))
                ports.append(order[-1])
            order.pop()
    return ports


def accepts(host: str, port: int) -> bool:
    """Return whether anything accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False

"""The system's own sockets and waits, as they are without Locust's monkey-patching.

Locust replaces them by ones that switch between greenlets, and takes epoll away. The load
drives all of its connections from one greenlet, so it needs what is underneath.
"""

from __future__ import annotations

import select as _select
import socket as _socket
from collections.abc import Callable

from gevent.monkey import get_original

Socket: type[_socket.socket] = get_original("socket", "socket")
Epoll: type[_select.epoll] = get_original("select", "epoll")
_Ready = tuple[list[int], list[int], list[int]]
select: Callable[[list[int], list[int], list[int], float], _Ready] = get_original(
    "select", "select"
)

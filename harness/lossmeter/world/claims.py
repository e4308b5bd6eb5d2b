"""Names that one process of this machine has spoken for, and no other may take meanwhile.

A name in the abstract namespace of Unix sockets belongs to one process and ends with it however
it ends. It is seen within one network namespace, as ports and an engine's networks are
(man 7 unix).
"""

from __future__ import annotations

import os
import socket
from collections import deque

_PREFIX = b"\0lossmeter-"
# sun_path holds 108 bytes; of a longer name the end, where names differ.
_LONGEST = 108 - len(_PREFIX)


class Claims:
    """The names that this process has spoken for last.

    Args:
        most: how many are held; each costs a file descriptor. An older one is let go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: deque[tuple[str, int]] = deque()

    @property
    def names(self) -> list[str]:
        """Return those that are held, the oldest first."""
        return [name for name, _ in self._held]

    def take(self, name: str) -> bool:
        """Return whether neither another process nor this one has it; then it is held."""
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(_PREFIX + name.encode()[-_LONGEST:])
        except OSError:
            held.close()
            return False
        # The kernel closes it when this process ends, and nothing else is to.
        self._held.append((name, held.detach()))
        while len(self._held) > self._most:
            os.close(self._held.popleft()[1])
        return True

"""Which instance a request goes to, as a load balancer chooses among healthy upstreams."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lossmeter import model

Address = tuple[str, int]

READ_EVERY_S = 0.02


class Addresses:
    """The addresses in service, each in its turn.

    Args:
        only: where there is but one instance.
        listed: a file with one ``host:port`` a line that is replaced when the list changes;
            None for ``only``.
    """

    def __init__(self, only: Address, listed: Path | None) -> None:
        self._addresses = [only]
        self._listed = listed
        self._read_at = -READ_EVERY_S
        self._turn = 0

    def in_turn(self) -> Sequence[Address]:
        """Return all addresses in service, that whose turn it is first."""
        if self._listed is None:
            return self._addresses
        self._refresh()
        self._turn += 1
        first = self._turn % len(self._addresses)
        return self._addresses[first:] + self._addresses[:first]

    def _refresh(self) -> None:
        if self._listed is None or time.monotonic() - self._read_at < READ_EVERY_S:
            return
        self._read_at = time.monotonic()
        lines = self._listed.read_text(encoding="ascii").split()
        # With nobody in service the last ones are asked, and say no.
        self._addresses = [_address(line) for line in lines] or self._addresses


def _address(line: str) -> Address:
    parsed = model.Address.parse(line)
    return parsed.host, parsed.port

"""Servers that one run hands over to the next, each time emptied and found as when new.

Only what nothing speaks against comes back: the run ended in good order, no fault struck a
server, and the reset was verified. Whatever else becomes of them, they end with the shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from harness.errors import HarnessError

# Each is idle while another serves, and takes memory: a Kafka some hundred MiB.
KEPT_AT_ONCE = 3


class Servers(Protocol):
    """Servers that belong together, as a runtime brings them up."""

    def start(self) -> None:
        """Start them.

        Raises:
            ServiceError: one did not come up.
        """

    def unfit(self) -> str | None:
        """Return why no other run may have them, after what this one did to them, or None."""

    def renew(self) -> None:
        """Empty them, and make sure that they are as when they were new.

        Raises:
            ServiceError: one is not, or does not answer.
        """

    def close(self) -> None:
        """Stop them and remove what they kept, whatever state they are in."""


S = TypeVar("S", bound=Servers)


class Shelf:
    """Keeps servers between runs, while it is entered.

    Args:
        at_once: how many sets to keep; of more, the one that lay there longest is stopped.
            With 0 each run has servers of its own.
    """

    def __init__(self, at_once: int = KEPT_AT_ONCE) -> None:
        self._at_once = at_once
        self._kept: dict[Hashable, Servers] = {}
        self._all: list[Servers] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            for servers in self._all:
                stack.callback(servers.close)

    @property
    def keeps(self) -> bool:
        """Return whether anything is kept at all."""
        return self._at_once > 0

    @contextmanager
    def lend(
        self, kind: Hashable, make: Callable[[], S], say: Callable[[str], None]
    ) -> Iterator[S]:
        """Lend servers to a run: those that it finds kept, emptied, or else new ones.

        Args:
            kind: tells which servers are alike: those of one kind can stand in for each other.
            make: makes new ones, not started yet.
            say: is told why what was kept could not be used.

        Raises:
            ServiceError: new ones did not come up.
        """
        kept: S | None = self._renewed(kind, say)
        servers = kept or make()
        if kept is None:
            self._all.append(servers)
        # After an error nobody knows in what state they are.
        try:
            if kept is None:
                servers.start()
            yield servers
        except BaseException:
            self._close(servers)
            raise
        if not self.keeps:
            self._close(servers)
        elif why := servers.unfit():
            say(f"servers are not kept: {why}")
            self._close(servers)
        else:
            self._keep(kind, servers)

    def _renewed(self, kind: Hashable, say: Callable[[str], None]) -> S | None:
        servers: S | None = self._kept.pop(kind, None)  # type: ignore[assignment]
        if servers is None:
            return None
        try:
            servers.renew()
        except HarnessError as error:
            say(f"servers that were kept are not used again: {error}")
            self._close(servers)
            return None
        return servers

    def _keep(self, kind: Hashable, servers: Servers) -> None:
        if kind in self._kept:
            self._close(self._kept.pop(kind))
        while len(self._kept) >= self._at_once:
            self._close(self._kept.pop(next(iter(self._kept))))
        self._kept[kind] = servers

    def _close(self, servers: Servers) -> None:
        servers.close()
        self._all.remove(servers)

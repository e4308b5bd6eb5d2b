"""Servers that one run hands over to the next, each time emptied and found as when new.

Only what nothing speaks against is kept: the run ended in good order, no fault struck a
server, and the reset was verified. Whatever else becomes of them, they end with the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

from lossmeter.errors import InterruptedRunError, ServiceError

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

    def resume(self) -> None:
        """Make sure once more, after they lay idle, and serve again.

        Raises:
            ServiceError: as for ``renew``.
        """

    def close(self) -> None:
        """Stop them and remove what they kept, whatever state they are in."""


S = TypeVar("S", bound=Servers)
Say = Callable[[str], None]


class ServerPool:
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

    def __exit__(self, kind: object, *_: object) -> None:
        """Close all.

        Raises:
            ServiceError: one could not be closed; the others are.
            InterruptedRunError: Ctrl-C or SIGTERM meanwhile; all are closed.
        """
        wrong: list[str] = []
        interrupted = False
        while self._all:
            servers = self._all.pop()
            try:
                servers.close()
            except KeyboardInterrupt:
                interrupted = True
                servers.close()
            except Exception as other:  # noqa: BLE001 - one must not keep the others open
                wrong.append(f"{type(other).__name__}: {other}")
        if kind is not None:
            return
        if interrupted:
            raise InterruptedRunError("interrupted while servers were stopped; all are")
        if wrong:
            raise ServiceError(f"servers that were kept did not stop: {'; '.join(wrong)}")

    @property
    def keeps(self) -> bool:
        """Return whether anything is kept at all."""
        return self._at_once > 0

    @contextmanager
    def lend(self, kind: Hashable, make: Callable[[], S], say: Say) -> Iterator[S]:
        """Lend servers to a run: those that it finds kept, or else new ones.

        Args:
            kind: tells which servers are alike: those of one kind can stand in for each other.
            make: makes new ones, not started yet.
            say: is given why servers are not kept, or could not be used again.

        Raises:
            ServiceError: new ones did not come up.
        """
        kept: S | None = self._resumed(kind, say)
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
        elif (why := _not_renewed(servers)) is not None:
            say(f"servers are not kept: {why}")
            self._give_up(servers, say)
        else:
            self._keep(kind, servers, say)

    def _resumed(self, kind: Hashable, say: Say) -> S | None:
        servers: S | None = self._kept.pop(kind, None)  # type: ignore[assignment]
        if servers is None:
            return None
        try:
            servers.resume()
        except Exception as error:  # noqa: BLE001 - new ones do as well
            say(f"servers that were kept are not used again: {error}")
            self._give_up(servers, say)
            return None
        return servers

    def _keep(self, kind: Hashable, servers: Servers, say: Say) -> None:
        if kind in self._kept:
            self._give_up(self._kept.pop(kind), say)
        while len(self._kept) >= self._at_once:
            self._give_up(self._kept.pop(next(iter(self._kept))), say)
        self._kept[kind] = servers

    def _give_up(self, servers: Servers, say: Say) -> None:
        """Close what no run needs; that it cannot be closed does not spoil a run."""
        try:
            self._close(servers)
        except Exception as error:  # noqa: BLE001 - it is tried again at the end, and reported there
            say(f"servers did not stop: {error}")

    def _close(self, servers: Servers) -> None:
        servers.close()
        self._all.remove(servers)


def _not_renewed(servers: Servers) -> str | None:
    """Renew them; return why they cannot serve again, or None."""
    try:
        if why := servers.unfit():
            return why
        servers.renew()
    except Exception as error:  # noqa: BLE001 - whatever it is, the run that used them is over
        return str(error)
    return None

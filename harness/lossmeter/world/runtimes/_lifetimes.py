"""Which lifetime each server of a run is in: one that began anew unasked proves nothing.

A database that recovers from a crash, or a broker that something else restarted, may have lost
what the target gave it; what that did is not the target's doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from lossmeter.errors import CollectError, FaultError, ServiceError, TargetError
from lossmeter.world.runtimes._target import UNASKED
from lossmeter.world.service import KnowsLifetime, Service, Slot
from lossmeter.world.site import Incarnation
from lossmeter.world.waiting import wait_for

LOOK_EVERY_S = 2.0
ANSWERS_WITHIN_S = 10.0


@contextmanager
def servers_first(look: Callable[[], None]) -> Iterator[None]:
    """Look at the servers before an error is put down to the target.

    What a server's own end or crash did to it is not the target's doing.

    Args:
        look: raises when one has ended, or has begun anew, that no fault struck.
    """
    try:
        yield
    except (TargetError, CollectError, FaultError):
        look()
        raise


@dataclass(frozen=True, slots=True)
class _Lifetime:
    """A server's main process, and what the server itself says of its lifetime."""

    pid: int
    start_ticks: int
    said: str | None


class Lifetimes:
    """Remembers the lifetimes of servers, and looks whether they are still the same.

    Args:
        lifetime: returns the present lifetime of a server's main process.
        log: returns a server's log.
    """

    def __init__(self, lifetime: Callable[[str], Incarnation], log: Callable[[str], str]) -> None:
        self._lifetime = lifetime
        self._log = log
        self._known: dict[str, tuple[Service, Slot, _Lifetime]] = {}
        self._looked = time.monotonic()

    def note(self, service: Service, slot: Slot) -> None:
        """Remember a server's present lifetime, when it is ready."""
        self._known[service.name] = service, slot, self._look(service, slot)

    def check_now_and_then(self, struck: Container[str]) -> None:
        """Look every ``LOOK_EVERY_S``; one that does not answer just now may do so later."""
        if time.monotonic() - self._looked > LOOK_EVERY_S:
            self.check(struck, 0)

    def check(self, struck: Container[str], within_s: float = ANSWERS_WITHIN_S) -> None:
        """Look at all.

        Args:
            struck: those that a fault has struck, whose lifetimes are its doing.
            within_s: how long to wait for one that does not answer, in seconds.

        Raises:
            ServiceError: one began anew; the message ends with what its log says of it.
        """
        for name, (service, slot, before) in self._known.items():
            if name in struck:
                continue
            now = wait_for(partial(self._answer, service, slot, before), within_s)
            if now is not None and now != before:
                raise ServiceError(
                    f"{name} began a new lifetime {UNASKED}; its log says: {self._why(service)}"
                )
        self._looked = time.monotonic()

    def _answer(self, service: Service, slot: Slot, before: _Lifetime) -> _Lifetime | None:
        """Return the present lifetime; None while a server does not say what it said before."""
        now = self._look(service, slot)
        return None if now.said is None and before.said is not None else now

    def _look(self, service: Service, slot: Slot) -> _Lifetime:
        lifetime = self._lifetime(service.name)
        said = service.lifetime(slot) if isinstance(service, KnowsLifetime) else None
        return _Lifetime(lifetime.pid, lifetime.start_ticks, said)

    def _why(self, service: Service) -> str:
        signs = service.crash_signs if isinstance(service, KnowsLifetime) else ()
        lines = [line.strip() for line in self._log(service.name).splitlines() if line.strip()]
        telling = [line for line in lines if any(sign in line for sign in signs)]
        return " | ".join((telling or lines)[-2:]) or "nothing"

"""What faults at servers have in common: which one is struck, and asking whether it answers."""

from __future__ import annotations

import socket
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Field

from lossmeter.errors import AbsentError, FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes, now
from lossmeter.model import Address, Evidence
from lossmeter.world.site import Endpoint, Proxied, ProxyControl, Site
from lossmeter.world.waiting import wait_for

ANSWER_S, LOGGED_WITHIN_S = 1.0, 3.0
ANSWERS = "answers"
_RIGHT = "names of servers with spaces between, e.g. 'postgres redis'"


def _names(given: object) -> Any:
    if isinstance(given, str) and given.split():
        return tuple(given.split())
    raise ValueError(_RIGHT)


Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(description=_RIGHT)]


class ServerNames(Parameters):
    """Which servers may be struck, in this order; each fault has its own default."""

    servers: Names = ()


S = TypeVar("S", bound=ServerNames)


class AtServer(Fault[S], Generic[S]):
    """A fault at the first of its servers that the run has."""

    _hit: Endpoint | None = None

    def find(self, site: Site) -> Endpoint:
        """Return the server that is struck.

        Raises:
            FaultError: the run has none of them.
        """
        for name in self.asked.servers:
            if name in site.endpoints:
                return site.endpoints[name]
        raise FaultError(
            f"{self.name()} needs a target that uses {' or '.join(self.asked.servers)}"
        )

    def through(self, endpoint: Endpoint) -> Address:
        """Return where the harness reaches a server as the target does: through the proxy.

        Raises:
            FaultError: the target does not reach it so.
        """
        if endpoint.through is None:
            raise FaultError(
                f"{self.name()}: the target does not reach {endpoint.service} through the proxy"
            )
        return endpoint.through


class WayCut(AtServer[S], Generic[S]):
    """A fault that keeps the target from a server, which itself goes on.

    Evidence: through the proxy, where the target goes, the server does not answer; at its
    own address it does, so it is the way that is cut; afterwards it answers on both.
    """

    needs = (Proxied,)
    strikes = frozenset({Strikes.WAY})
    takes_away = True

    @abstractmethod
    def cut(self, proxies: ProxyControl, server: str) -> None:
        """Cut the way to a server."""

    @abstractmethod
    def join(self, proxies: ProxyControl, server: str) -> None:
        """Open it again; it may not have been cut."""

    def inject(self, site: Site) -> list[Evidence]:
        """Cut the way, and ask on both."""
        proxied, hit = self.capable(site, Proxied), self.find(site)
        way = self.through(hit)
        self._hit = hit
        self.cut(proxied.proxies, hit.service)
        silent = f"{hit.service} does not answer where the target asks it"
        goes_on = f"{hit.service} itself goes on, and answers at its own address"
        return [
            asked("through-proxy", silent, ask(hit, way), answers=False),
            asked("server-address", goes_on, ask(hit, hit.outside), answers=True),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Open the way, and ask there."""
        proxied, hit = self.capable(site, Proxied), self._hit
        if hit is None:
            return []
        self.join(proxied.proxies, hit.service)
        claim = f"{hit.service} answers again where the target asks it"
        return [asked("through-proxy", claim, ask(hit, self.through(hit)), answers=True)]


def lift(proxies: ProxyControl, proxy: str, toxic: str) -> None:
    """Remove a disturbance, if it is there: injecting may have broken off before it was.

    Raises:
        ServiceError: the proxy does not answer.
    """
    with suppress(AbsentError):
        proxies.lift(proxy, toxic)


def round_trip_s(endpoint: Endpoint, where: Address, within_s: float) -> float | None:
    """Return how long a server takes for its first answer; None when there is none in time."""
    begin = time.monotonic()
    try:
        with socket.create_connection((where.host, where.port), timeout=within_s) as client:
            client.sendall(endpoint.question)
            answered = bool(client.recv(1))
    except OSError:
        return None
    return time.monotonic() - begin if answered else None


def ask(endpoint: Endpoint, where: Address) -> str:
    """Ask a server for a sign of life and return what came of it, ``answers`` if it does."""
    try:
        with socket.create_connection((where.host, where.port), timeout=ANSWER_S) as client:
            client.sendall(endpoint.question)
            return ANSWERS if client.recv(1) else "closes the connection"
    except TimeoutError:
        return f"no answer within {ANSWER_S:g} s"
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as error:
        return error.strerror or type(error).__name__


def asked(source: str, claim: str, said: str, *, answers: bool) -> Evidence:
    """Return what a server said, and whether it should have answered."""
    return now(source, claim, said, (said == ANSWERS) == answers)


def said_since(log: Callable[[], str], words: str, before: int) -> int:
    """Return how often more a server's log has some words than it had before.

    What a server says reaches its log by way of an engine, on a busy machine late: the first
    time is waited for.
    """
    return wait_for(lambda: max(0, log().count(words) - before), LOGGED_WITHIN_S)

"""What faults at servers have in common: which one is hit, and asking whether it answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from harness.errors import FaultError, ServiceError
from harness.model import Address, Evidence
from harness.site import Endpoint, ProxyControl, Site

ANSWER_S = 1.0

# The shortest question of each protocol that is answered before anybody logs in: an inline
# PING, an ApiVersions request, an SSLRequest.
QUESTIONS: Mapping[str, bytes] = {
    "redis": b"PING\r\n",
    "kafka": bytes.fromhex("0000000a 0012 0000 00000001 ffff"),
    "postgres": bytes.fromhex("00000008 04d2162f"),
}


def server_names(fault: str, parameters: Mapping[str, object], default: str) -> tuple[str, ...]:
    """Return the parameter ``servers``: names, with spaces between them.

    Raises:
        FaultError: it is not that, or something else was given.
    """
    given = parameters.get("servers", default)
    if set(parameters) - {"servers"} or not isinstance(given, str) or not given.split():
        raise FaultError(f"{fault} takes servers, names with spaces between: {default!r}")
    names = tuple(given.split())
    for name in names:
        if name not in QUESTIONS:
            raise FaultError(f"{fault}: server {name!r} is none of {', '.join(QUESTIONS)}")
    return names


def first_of(site: Site, names: tuple[str, ...], fault: str) -> Endpoint:
    """Return the first of these servers that the run has.

    Raises:
        FaultError: it has none of them.
    """
    for name in names:
        if name in site.endpoints:
            return site.endpoints[name]
    raise FaultError(f"{fault} needs a target that uses {' or '.join(names)}")


def through(endpoint: Endpoint, fault: str) -> Address:
    """Return where the harness reaches a server as the target does: through the proxy.

    Raises:
        FaultError: the target does not reach it so.
    """
    if endpoint.through is None:
        raise FaultError(f"{fault}: the target does not reach {endpoint.service} through the proxy")
    return endpoint.through


def lift(proxies: ProxyControl, proxy: str, toxic: str) -> None:
    """Remove a disturbance, if it is there: injecting may have broken off before it was.

    Raises:
        ServiceError: the proxy does not answer.
    """
    try:
        proxies.lift(proxy, toxic)
    except ServiceError as error:
        if "refused" not in str(error):
            raise


def round_trip_s(server: str, where: Address, within_s: float) -> float | None:
    """Return how long a server takes for its first answer; None when there is none in time."""
    begin = time.monotonic()
    try:
        with socket.create_connection((where.host, where.port), timeout=within_s) as client:
            client.sendall(QUESTIONS[server])
            answered = bool(client.recv(1))
    except OSError:
        return None
    return time.monotonic() - begin if answered else None


def ask(server: str, where: Address) -> str:
    """Ask a server for a sign of life and return what came of it, ``answers`` if it does."""
    try:
        with socket.create_connection((where.host, where.port), timeout=ANSWER_S) as client:
            client.sendall(QUESTIONS[server])
            return ANSWERS if client.recv(1) else "closes the connection"
    except TimeoutError:
        return f"no answer within {ANSWER_S:g} s"
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as error:
        return error.strerror or type(error).__name__


ANSWERS = "answers"


def asked(source: str, claim: str, said: str, *, answers: bool) -> Evidence:
    """Return what a server said, and whether it should have answered."""
    return Evidence(source, claim, said, (said == ANSWERS) == answers, time.time_ns())

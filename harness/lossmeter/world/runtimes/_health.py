"""Whether a process of the target is healthy, asked as its file says."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

from lossmeter.model import Address
from lossmeter.plan.target import Target
from lossmeter.world.caller import Caller
from lossmeter.world.runtimes._instances import Part
from lossmeter.world.runtimes._target import answers_ok, spoken, up_url

ANSWER_S = 1.0
# Who publishes the port of a container takes connections for it, and closes those at once to
# which nobody listens inside.
STAYS_OPEN_S = 0.05


def question(
    target: Target, part: Part, log: Callable[[], bytes], succeeds: Callable[[Sequence[str]], bool]
) -> tuple[str, Callable[[], bool]]:
    """Return how the health of a part is asked, in words, and what asks it.

    Args:
        target: it belongs to.
        part: that is starting now.
        log: returns what it has written since its start.
        succeeds: runs a command beside it, and returns whether that ended with 0.
    """
    return in_words(target, part), _question(target, part, log, succeeds)


def in_words(target: Target, part: Part) -> str:
    """Return how the health of a part is asked, for a message."""
    health = part.process.health
    if health is None or health.runs_s is not None:
        return f"given {runs_s_of(part):g} s to run"
    if (http := spoken(target, part)) is not None:
        return f"asked on {up_url(part.url, http)}"
    if health.command is not None:
        return f"asked by {health.command[0]!r}"
    if health.log is not None:
        return f"which was to log {health.log!r}"
    return f"asked on port {part.port}"


def runs_s_of(part: Part) -> float:
    """Return how long a part must run that is asked nothing else."""
    return (part.process.health.runs_s or 0.0) if part.process.health else 0.0


def _question(
    target: Target, part: Part, log: Callable[[], bytes], succeeds: Callable[[Sequence[str]], bool]
) -> Callable[[], bool]:
    health = part.process.health
    if health is None or health.runs_s is not None:
        begin = time.monotonic()
        return lambda: time.monotonic() - begin >= runs_s_of(part)
    if (http := spoken(target, part)) is not None:
        caller = Caller(http)
        return lambda: answers_ok(part.url, http, caller)
    if health.command is not None:
        command = health.command
        return lambda: succeeds(command)
    if health.log is not None:
        text = health.log
        return lambda: text.encode() in log()
    return lambda: takes_connections(Address(part.host, part.port or 0))


def takes_connections(at: Address) -> bool:
    """Return whether somebody takes a connection there, and keeps it open."""
    try:
        with socket.create_connection((at.host, at.port), ANSWER_S) as client:
            client.settimeout(STAYS_OPEN_S)
            return bool(client.recv(1))
    except TimeoutError:
        # Open, and it waits for its client to begin.
        return True
    except OSError:
        return False

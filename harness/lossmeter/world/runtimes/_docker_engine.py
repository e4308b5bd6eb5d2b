"""Reaching the Docker engine, and saying in one sentence why something did not work."""

from __future__ import annotations

import os
import re
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lossmeter.errors import HarnessError, ServiceError, UnavailableError, UsageError
from lossmeter.plugins import lacking

if TYPE_CHECKING:
    import docker

ANSWER_S = 2
COMMAND_S = 120
DEFAULT_HOST = "unix:///var/run/docker.sock"
HOST_VARIABLE, CONTEXT_VARIABLE = "DOCKER_HOST", "DOCKER_CONTEXT"
INSTALL = (
    "`python -m lossmeter.world.install.docker_engine` installs and starts one where you are root "
    "on Debian or Ubuntu"
)


def host() -> str:
    """Return where the engine is to be found: ``$DOCKER_HOST`` or the usual socket."""
    return os.environ.get(HOST_VARIABLE) or DEFAULT_HOST


def connect() -> docker.DockerClient:
    """Return a client of the engine.

    Raises:
        UnavailableError: none answers; the message says what to do.
    """
    why = unavailable()
    if why is not None:
        raise UnavailableError(why)
    import docker  # noqa: PLC0415 - heavy, and the CLI must start fast
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        return docker.DockerClient(base_url=host(), timeout=COMMAND_S, version="auto")
    except (DockerException, OSError):
        raise UnavailableError(_no_answer()) from None


def unavailable() -> str | None:
    """Return one sentence saying why no engine can be used, or None; within 2 s."""
    return lacking(("docker",)) or _unreachable() or (None if _answers() else _no_answer())


def _answers() -> bool:
    """Return whether the engine answers a ping; without the SDK, which takes long to load."""
    with socket.socket(socket.AF_UNIX) as ping:
        ping.settimeout(ANSWER_S)
        try:
            ping.connect(host().removeprefix("unix://"))
            ping.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in ping.recv(64)
        except OSError:
            return False


@cache
def engine_version(base_url: str) -> str:
    """Return e.g. ``Docker 27.3.1``."""
    del base_url
    client = connect()
    try:
        return f"Docker {client.version()['Version']}"
    finally:
        client.close()


def _unreachable() -> str | None:
    where, named = host(), os.environ.get(CONTEXT_VARIABLE, "default")
    if named not in {"", "default"} and not os.environ.get(HOST_VARIABLE):
        # Taking another engine than the caller's docker would use is a surprise.
        return (
            f"{CONTEXT_VARIABLE} is {named!r}, and the harness reads no contexts; unset it, or "
            f"name that engine's socket in {HOST_VARIABLE}, as in {DEFAULT_HOST}"
        )
    if not where.startswith("unix://"):
        # Ports are published on the loopback, so the engine must be on this machine.
        return (
            f"{HOST_VARIABLE} is {where!r}, and the harness uses only an engine on this "
            f"machine; unset it, or name a socket as in {DEFAULT_HOST}"
        )
    path = Path(where.removeprefix("unix://"))
    if not path.exists():
        return f"no Docker engine answers on {path}; {INSTALL}"
    if not os.access(path, os.R_OK | os.W_OK):
        return (
            f"this user may not use {path}; join the group that owns it "
            "(`sudo usermod -aG docker $USER`) and log in again, or run as root"
        )
    return None


def _no_answer() -> str:
    return (
        f"the Docker engine on {host()} did not answer within {ANSWER_S} s; "
        f"start it, or remove a socket that nobody serves. {INSTALL}"
    )


def explain(error: Exception, what: str) -> HarnessError:
    """Turn what the engine said into the harness's own error, one sentence.

    Args:
        error: what docker raised.
        what: what was tried, e.g. ``container postgres``.
    """
    said = str(getattr(error, "explanation", None) or error).strip().rstrip(".")
    if "no space left on device" in said:
        return UnavailableError(
            f"{what}: the disk of the Docker engine is full; free some, for example with "
            "`docker system prune`"
        )
    taken = re.search(
        r"(?:[Bb]ind for |listen tcp4? )(\S+?)(?::? failed: port is already|: bind)", said
    )
    if taken or "port is already allocated" in said:
        where = taken.group(1) if taken else "its port"
        return UsageError(
            f"{what}: {where} is in use; stop what listens there or name another port"
        )
    if "non-overlapping" in said or "could not find an available" in said:
        return UnavailableError(
            f"{what}: the Docker engine has no address range left for one more network; "
            "remove unused ones with `docker network prune`"
        )
    return ServiceError(f"{what}: the Docker engine said: {said}")

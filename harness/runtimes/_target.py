"""What runtimes have in common when they start a target: its command, its first answer."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from harness.errors import UsageError
from harness.ports import LOOPBACK, is_free
from harness.site import Endpoint
from harness.target import Target


def interpolate(text: str, values: Mapping[str, str], target: str) -> str:
    """Fill ``{name}`` and ``{service.name}`` in; everything else in braces is left alone.

    Raises:
        UsageError: the text names a server or variable that the target does not have.
    """
    for name in values:
        text = text.replace("{" + name + "}", values[name])
    start = text.find("{")
    end = text.find("}", start)
    inner = text[start + 1 : end] if 0 <= start < end else ""
    if inner.replace(".", "").replace("_", "").isalnum():
        raise UsageError(
            f"target {target}: {{{inner}}} is not known; known are "
            + ", ".join("{" + name + "}" for name in sorted(values))
        )
    return text


def answers_ok(url: str) -> bool:
    """Return whether a URL of this machine answers 200."""
    try:
        # The scheme is fixed: base URLs are http on the loopback.
        with urllib.request.urlopen(url, timeout=1.0) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, HTTPException):
        return False


def variables(endpoints: Mapping[str, Endpoint], own: Mapping[str, str]) -> dict[str, str]:
    """Return all that a target file may interpolate: its own, and ``server.name``."""
    servers = {
        f"{endpoint.service}.{key}": value
        for endpoint in endpoints.values()
        for key, value in endpoint.variables.items()
    }
    return {**own, **servers}


def shared_folder(run: Path) -> Path:
    """Return the folder of the run that the target may write into, whoever it runs as."""
    folder = run / "target"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    return folder


def check_port_free(target: Target, port: int) -> None:
    """Check that nothing listens where the target is to listen.

    Raises:
        UsageError: the port is in use.
    """
    if not is_free(LOOPBACK, port):
        where = "start.port" if target.start and target.start.port else "its port"
        raise UsageError(
            f"target {target.name}: {where} {port} on {LOOPBACK} is in use; "
            "stop what listens there or name another"
        )


def check_attached(target: Target, base_url: str) -> None:
    """Check that a dispatcher that the harness did not start answers.

    Raises:
        UsageError: it does not.
    """
    url = base_url + (target.http.ready or target.http.health)
    if not answers_ok(url):
        raise UsageError(
            f"target {target.name}: nothing answers 200 on {url}; start the dispatcher "
            "first, or correct attach.url and http.health"
        )


def no_container(target: Target) -> str | None:
    """Return why a target cannot run in a container, or None."""
    if target.attach is None and target.container is None:
        return (
            f"target {target.name} does not say how it runs in a container; give its file "
            "a [container] with build or image, or use --runtime local"
        )
    build = target.container.build if target.container else None
    if build is not None and not (build / "Dockerfile").is_file():
        return f"target {target.name}: container.build: there is no Dockerfile in {build}"
    return None

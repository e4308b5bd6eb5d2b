"""Puts addresses and the like into the texts of a target file."""

from __future__ import annotations

from collections.abc import Mapping

from lossmeter.errors import UsageError
from lossmeter.world.site import Endpoint


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


def variables(endpoints: Mapping[str, Endpoint], own: Mapping[str, str]) -> dict[str, str]:
    """Return all that a target file may interpolate: its own, and ``server.name``."""
    servers = {
        f"{endpoint.service}.{key}": value
        for endpoint in endpoints.values()
        for key, value in endpoint.variables.items()
    }
    return {**own, **servers}


def reachable(endpoints: Mapping[str, Endpoint], *, proxied: bool) -> dict[str, str]:
    """Return the same for a client on this machine, whatever the servers run in.

    Args:
        endpoints: the servers.
        proxied: go through the proxy where there is one, as the target does; else around it,
            as the auditor does, and as who would be sent on to where only the target is.
    """
    found = {}
    for endpoint in endpoints.values():
        front = None if endpoint.sends_on else endpoint.through
        direct, through = str(endpoint.outside), str(front or endpoint.outside)
        for key, value in endpoint.direct.items():
            place = value.replace(direct, through) if proxied else value
            found[f"{endpoint.service}.{key}"] = place
    return found

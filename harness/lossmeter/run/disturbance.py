"""Looks for what somebody else did to the proxies, or to the servers that a run reads from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from lossmeter.errors import ServiceError
from lossmeter.plan.catalogue import Cell
from lossmeter.record.facts import Facts
from lossmeter.run.admission import strikes_servers
from lossmeter.world.beginnings import Beginning, differ
from lossmeter.world.site import Accountable, Proxied, Site
from lossmeter.world.waiting import wait_for

EVERY_S = 1.0
ANSWERS_WITHIN_S = 10.0


class Reads(Protocol):
    """What speaks to a server."""

    @property
    def began(self) -> Callable[[], Beginning | None]:
        """Ask the server since when it serves; None where it does not say."""


class ProxyWatch:
    """Reads the proxies back, and notes in the facts what the harness did not set."""

    def __init__(self, site: Site, facts: Facts) -> None:
        self._facts = facts
        self._proxies: object = site.proxies if isinstance(site, Proxied) else None
        self._looked_s = 0.0

    def look(self) -> None:
        """Look, unless the last look was a moment ago; what does not answer is asked again."""
        if time.monotonic() - self._looked_s >= EVERY_S:
            with suppress(ServiceError):
                self._look()

    def look_at_last(self) -> None:
        """Look when the run is over: proxies that cannot be read then may have been anything."""
        try:
            self._look()
        except ServiceError as error:
            self._facts.doubts.append(f"the proxies could not be read back at the end: {error}")

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        if not isinstance(self._proxies, Accountable):
            return
        doubt = self._proxies.not_commanded()
        if doubt is not None and doubt not in self._facts.doubts:
            self._facts.doubts.append(doubt)


def servers_watch(cell: Cell, facts: Facts, *read: Reads | None) -> ServersWatch | None:
    """Return what watches the servers that a run reads from or hands events to.

    Args:
        cell: of the run.
        facts: of the run.
        *read: the store's auditor, the queue's watch and the ingress, where there are any.

    Returns:
        None where a fault strikes servers themselves: the runtime knows then which began anew.
    """
    if strikes_servers(cell):
        return None
    names = ("persisted", "queue", "ingress")
    return ServersWatch({n: r.began for n, r in zip(names, read, strict=True) if r}, facts)


class ServersWatch:
    """Asks servers before and after a run since when they serve, and notes which began anew.

    It is the one thing that is known of the lifetimes of servers that somebody else runs, as
    those of a dispatcher that is attached to. One that does not say it before is not watched.

    Args:
        asked: what asks each, by the table of the target file that names it.
        facts: of the run.
    """

    def __init__(self, asked: Mapping[str, Callable[[], Beginning | None]], facts: Facts) -> None:
        self._facts, self._asked = facts, asked
        self._before = {where: ask() for where, ask in asked.items()}

    def look_at_last(self) -> None:
        """Ask again, when all has been read."""
        for where, before in self._before.items():
            if before is None:
                continue
            now = wait_for(self._asked[where], ANSWERS_WITHIN_S)
            if now is None:
                self._facts.doubts.append(
                    f"the server of [{where}] did not say at the end whether it began anew"
                )
            elif differ(before, now):
                self._facts.doubts.append(
                    f"the server of [{where}] began a new lifetime in mid-run, which no fault "
                    "asked for"
                )

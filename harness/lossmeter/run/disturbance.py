"""Looks whether the proxies are as the run set them: nobody else may disturb what is measured."""

from __future__ import annotations

import time
from contextlib import suppress

from lossmeter.errors import ServiceError
from lossmeter.record.facts import Facts
from lossmeter.world.site import Accountable, Proxied, Site

EVERY_S = 1.0


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

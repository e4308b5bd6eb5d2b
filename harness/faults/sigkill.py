"""SIGKILL to the target's main process, then a restart: a crash, ``kill -9``.

Parameters:
    by: ``runtime`` (default) or ``host``: who sends it. Through a container engine a kill
        counts as a wish to stop; by the host's process id it does not.
    restart: ``harness`` (default) or ``policy``: who starts the target again.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from harness.errors import FaultError
from harness.faults._lives import (
    Before,
    accounted,
    actions,
    capable,
    ended,
    gap,
    new_boot,
    new_life,
    recorded,
    seen_again,
)
from harness.model import Evidence
from harness.site import Exit, Incarnation, Killable, RestartedByPolicy, Site

NAME = "sigkill"
RESTARTED_WITHIN_S = 30.0
CODE = 128 + signal.SIGKILL


class Sigkill:
    """Kills the target and starts it again.

    Evidence: the wait status of the process, the kernel's process start time, the gap in
    the health probe, the engine's record where there is one, and the target's own name for
    its life where it has one.
    """

    def __init__(self, by: str, restart: str) -> None:
        self._by_host = by == "host"
        self._by_policy = restart == "policy"
        special = self._by_host or self._by_policy
        self.needs: tuple[type, ...] = (RestartedByPolicy if special else Killable,)
        self._before: Before | None = None
        self._ended_ns = 0
        self._policy_on = False

    def inject(self, site: Site) -> list[Evidence]:
        """Send the signal; wait for the end of the process where nobody restarts it."""
        killable = capable(site, Killable, NAME)
        if self._by_policy:
            capable(site, RestartedByPolicy, NAME).restart_policy(on=True)
            self._policy_on = True
        self._before = Before.look(killable, site.probe.samples())
        if self._by_host:
            self._ended_ns = capable(site, RestartedByPolicy, NAME).kill_from_host()
            return self._engine(site)
        end = killable.kill()
        self._ended_ns = end.at_ns
        return [*self._wait_status(self._before, end), *self._engine(site)]

    def heal(self, site: Site) -> list[Evidence]:
        """See the target serve again, and compare its new life with the old one."""
        try:
            if self._before is None or not self._ended_ns:
                return []
            after = self._again(site, self._before)
        finally:
            if self._policy_on:
                capable(site, RestartedByPolicy, NAME).restart_policy(on=False)
                self._policy_on = False
        again = seen_again(site)
        return [
            new_life(self._before, after),
            gap(site, self._ended_ns, again),
            *new_boot(self._before, again),
            *accounted(
                site,
                self._before.at_ns,
                "the container ended by SIGKILL, not for want of memory, and started again",
                lambda told: {f"die {CODE}", "start"} <= set(told) and "oom" not in told,
            ),
        ]

    def _again(self, site: Site, before: Before) -> Incarnation:
        if not self._by_policy:
            return capable(site, Killable, NAME).start()
        restarted = capable(site, RestartedByPolicy, NAME)
        after = restarted.wait_restarted(before.life, RESTARTED_WITHIN_S)
        if after is None:
            # Somebody must, or the rest of the run says nothing.
            restarted.start()
            raise FaultError(f"no policy started the target within {RESTARTED_WITHIN_S:g} s")
        return after

    def _wait_status(self, before: Before, end: Exit) -> list[Evidence]:
        killed = end.signal == signal.SIGKILL
        return [ended(before, end, "the process was ended by SIGKILL", killed)]

    def _engine(self, site: Site) -> list[Evidence]:
        if self._before is None:
            return []
        die, kill = f"die {CODE}", f"kill {signal.SIGKILL:d}"
        if self._by_host:
            claim = "the engine saw the process end by SIGKILL, and had not sent it"
            return recorded(
                site,
                self._before.at_ns,
                claim,
                lambda seen: die in actions(seen) and kill not in actions(seen),
            )
        claim = "the engine sent SIGKILL and saw the process end by it"
        return recorded(
            site, self._before.at_ns, claim, lambda seen: {die, kill} <= set(actions(seen))
        )


def build(parameters: Mapping[str, str | int | float]) -> Sigkill:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or has an unknown value.
    """
    known = {"by": ("runtime", "host"), "restart": ("harness", "policy")}
    for name, value in parameters.items():
        if name not in known:
            raise FaultError(f"sigkill takes by and restart, got {name}")
        if value not in known[name]:
            raise FaultError(f"sigkill: {name} is {value!r}; right is {' or '.join(known[name])}")
    by = str(parameters.get("by", "runtime"))
    restart = str(parameters.get("restart", "harness"))
    if restart == "policy" and by != "host":
        raise FaultError(
            "sigkill: restart = 'policy' needs by = 'host': a kill through the "
            "engine disables its restart policies"
        )
    return Sigkill(by, restart)

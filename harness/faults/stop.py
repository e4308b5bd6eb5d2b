"""SIGTERM, a grace, then SIGKILL: ``docker stop``, a redeploy, a pod's end; then a restart.

Parameters:
    grace_s: seconds between SIGTERM and SIGKILL; 0 sends them one after the other.
    pre_stop_s: seconds before SIGTERM that count towards the grace, as a kubelet's preStop.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial

from harness.faults._graces import grace
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
from harness.site import Site, Stoppable, Stopped

NAME = "stop"


class Stop:
    """Stops the target within a grace and starts it again.

    Evidence: when SIGTERM and SIGKILL were sent and how the process ended, the engine's
    record where there is one, the kernel's process start time, the gap in the health probe,
    and the target's own name for its life.
    """

    needs: tuple[type, ...] = (Stoppable,)

    def __init__(self, grace_s: float, pre_stop_s: float) -> None:
        self._grace_s = grace_s
        self._pre_stop_s = pre_stop_s
        self._before: Before | None = None
        self._stopped: Stopped | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Go through preStop, SIGTERM, grace and, if it comes to that, SIGKILL."""
        target = capable(site, Stoppable, NAME)
        time.sleep(self._pre_stop_s)
        self._before = Before.look(target, site.probe.samples())
        self._stopped = target.stop(self._grace_s - self._pre_stop_s)
        return [
            self._asked(self._stopped),
            self._end(self._before, self._stopped),
            *self._engine(site, self._before, self._stopped),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Start the target again and compare its new life with the old one."""
        if self._before is None or self._stopped is None:
            return []
        after = capable(site, Stoppable, NAME).start()
        again = seen_again(site)
        return [
            new_life(self._before, after),
            gap(site, self._stopped.exit.at_ns, again),
            *new_boot(self._before, again),
            *accounted(
                site,
                self._before.at_ns,
                "the pod was to be deleted, ended after that, and another was created",
                partial(_in_order, ["delete", f"die {self._stopped.exit.code}", "create"]),
            ),
        ]

    def _asked(self, stopped: Stopped) -> Evidence:
        took_s = (stopped.exit.at_ns - stopped.asked_ns) / 1e9
        if stopped.killed_ns is None:
            how = "it ended by itself"
            in_order = True
        else:
            later_s = (stopped.killed_ns - stopped.asked_ns) / 1e9
            how = f"SIGKILL came {later_s:.3f} s later"
            in_order = later_s >= 0
        return Evidence(
            source="stop-order",
            claim="SIGTERM came first, and the process ended after it",
            value=f"{how}; ended {took_s:.3f} s after SIGTERM",
            holds=in_order and took_s >= 0,
            at_ns=stopped.asked_ns,
        )

    def _end(self, before: Before, stopped: Stopped) -> Evidence:
        end = stopped.exit
        if stopped.killed_ns is None:
            claim = "the process ended by itself or by SIGTERM"
            return ended(before, end, claim, end.signal in {None, signal.SIGTERM})
        # Between the grace and the signal it may just have ended by itself.
        claim = "the process was ended by SIGKILL, or just before it by itself"
        return ended(before, end, claim, end.signal in {None, signal.SIGTERM, signal.SIGKILL})

    def _engine(self, site: Site, before: Before, stopped: Stopped) -> list[Evidence]:
        term, kill = f"kill {signal.SIGTERM:d}", f"kill {signal.SIGKILL:d}"
        die = f"die {stopped.exit.code}"
        wanted = [term, die] if stopped.killed_ns is None else [term, kill, die]
        claim = f"the engine recorded {', '.join(wanted)}, in this order"

        def in_order(seen: list[str]) -> bool:
            places = [seen.index(action) if action in seen else -1 for action in wanted]
            # The end may be told before the second signal, sent at the same moment.
            return min(places) >= 0 and places[0] == min(places)

        return recorded(site, before.at_ns, claim, lambda events: in_order(actions(events)))


def _in_order(wanted: Sequence[str], told: Sequence[str]) -> bool:
    places = [told.index(action) if action in told else -1 for action in wanted]
    return min(places) >= 0 and places == sorted(places)


def build(parameters: Mapping[str, str | int | float]) -> Stop:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown or impossible.
    """
    allowed = grace(NAME, parameters)
    return Stop(allowed.grace_s, allowed.pre_stop_s)

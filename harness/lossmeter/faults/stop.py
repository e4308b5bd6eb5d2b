"""SIGTERM, a grace, then SIGKILL: ``docker stop``, a redeploy, a pod's end; then a restart."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from functools import partial
from typing import Self

from pydantic import model_validator

from lossmeter.faults._graces import Seconds, check_part
from lossmeter.faults._lifetimes import (
    Before,
    accounted,
    ended,
    outlived,
    recorded,
    serves_again,
)
from lossmeter.faults._parts import AtProcess, AtTarget
from lossmeter.model import Evidence
from lossmeter.world.site import Grouped, Site, Stoppable, Stopped

# Of what runs as one process and says nothing of it.
USUAL_S = 10.0


class Takes(AtProcess):
    """Grace and preStop, which the harness waits for itself; a grace of 0 is none.

    Where it is not said, the grace is what the target file gives the process; one with another
    stop signal gets that in place of SIGTERM.
    """

    grace_s: Seconds | None = None
    pre_stop_s: Seconds = 0.0

    @model_validator(mode="after")
    def _part_of_it(self) -> Self:
        check_part(self.pre_stop_s, 0.0 if self.grace_s is None else self.grace_s)
        return self

    def graces(self) -> tuple[float, float] | None:
        """Return the rest of the grace; a pod that waited for its preStop would do so again."""
        return None if self.grace_s is None else (self.grace_s - self.pre_stop_s, 0.0)


class Stop(AtTarget[Takes]):
    """Stops the target within a grace and starts it again.

    Evidence: when SIGTERM and SIGKILL were sent and how the process ended, the engine's
    record where there is one, the kernel's process start time, the gap in the health probe,
    and the target's boot id.
    """

    takes = Takes
    needs = (Stoppable,)

    _before: Before | None = None
    _stopped: Stopped | None = None

    def strike(self, site: Site) -> list[Evidence]:
        """Go through preStop, SIGTERM, grace and, if it comes to that, SIGKILL."""
        target = self.capable(site, Stoppable)
        time.sleep(self.asked.pre_stop_s)
        self._before = Before.look(target, site.probe.samples())
        grace_s = self.asked.grace_s
        if grace_s is None:
            grace_s = site.grace_s if isinstance(site, Grouped) else USUAL_S
        self._stopped = target.stop(grace_s - self.asked.pre_stop_s)
        return [
            self._asked(self._stopped),
            self._end(self._before, self._stopped),
            *outlived(site, self._before.process.pid),
            *self._engine(site, self._before, self._stopped),
        ]

    def mend(self, site: Site) -> list[Evidence]:
        """Start the target again and compare its new process with the old one."""
        if self._before is None or self._stopped is None:
            return []
        after = self.capable(site, Stoppable).start()
        return [
            *serves_again(site, self._before, after, self._stopped.exit.at_ns),
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
            claim=f"{stopped.signal.name} came first, and the process ended after it",
            value=f"{how}; ended {took_s:.3f} s after {stopped.signal.name}",
            holds=in_order and took_s >= 0,
            at_ns=stopped.asked_ns,
        )

    def _end(self, before: Before, stopped: Stopped) -> Evidence:
        end = stopped.exit
        if stopped.killed_ns is None:
            claim = f"the process ended by itself or by {stopped.signal.name}"
            return ended(before, end, claim, end.signal in {None, stopped.signal})
        # Between the grace and the signal it may just have ended by itself.
        claim = "the process was ended by SIGKILL, or just before it by itself"
        return ended(before, end, claim, end.signal in {None, stopped.signal, signal.SIGKILL})

    def _engine(self, site: Site, before: Before, stopped: Stopped) -> list[Evidence]:
        term, kill = f"kill {stopped.signal:d}", f"kill {signal.SIGKILL:d}"
        die = f"die {stopped.exit.code}"
        wanted = [term, die] if stopped.killed_ns is None else [term, kill, die]
        claim = f"the engine recorded {', '.join(wanted)}, in this order"

        def in_order(seen: Sequence[str]) -> bool:
            places = [seen.index(action) if action in seen else -1 for action in wanted]
            # The end may be recorded before the second signal, sent at the same moment.
            return min(places) >= 0 and places[0] == min(places)

        return recorded(site, before.at_ns, claim, in_order)


def _in_order(wanted: Sequence[str], seen: Sequence[str]) -> bool:
    places = [seen.index(action) if action in seen else -1 for action in wanted]
    return min(places) >= 0 and places == sorted(places)

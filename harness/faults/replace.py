"""The target is stopped, taken away and put there anew: a rollout of one instance.

Parameters:
    grace_s: seconds between SIGTERM and SIGKILL.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from harness.errors import FaultError
from harness.faults._graces import MAX_GRACE_S
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
from harness.site import Replaceable, Site

NAME = "replace"


class Replace:
    """Replaces the target by a new one.

    Evidence: how the old process ended, the kernel's start time of the new one, the gap in
    the health probe, the engine's record, and the target's own name for its life.
    """

    needs: tuple[type, ...] = (Replaceable,)

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s

    def inject(self, site: Site) -> list[Evidence]:
        """Stop, remove and start anew."""
        target = capable(site, Replaceable, NAME)
        before = Before.look(target, site.probe.samples())
        stopped = target.replace(self._grace_s)
        end = stopped.exit
        own = end.signal in {None, signal.SIGTERM}
        again = seen_again(site)
        how = "by SIGKILL after the grace" if stopped.killed_ns else "by itself"
        return [
            ended(before, end, f"the old process ended {how}", own or bool(stopped.killed_ns)),
            new_life(before, target.incarnation()),
            gap(site, end.at_ns, again),
            *new_boot(before, again),
            *recorded(
                site,
                before.at_ns,
                "the engine stopped one container and started another",
                lambda seen: {"destroy", "create", "start"} <= set(actions(seen)),
            ),
            *accounted(
                site,
                before.at_ns,
                "one pod was deleted and another created",
                lambda told: {"delete", f"die {end.code}", "create", "start"} <= set(told),
            ),
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Do nothing: the new one serves."""
        del site
        return []


def build(parameters: Mapping[str, str | int | float]) -> Replace:
    """Return the fault.

    Raises:
        FaultError: grace_s is missing or impossible, or something else was given.
    """
    value = parameters.get("grace_s")
    if set(parameters) != {"grace_s"} or isinstance(value, str) or value is None:
        raise FaultError("replace takes grace_s, the seconds between SIGTERM and SIGKILL")
    if not 0 <= value <= MAX_GRACE_S:
        raise FaultError(f"replace: grace_s is {value!r}; right is 0 to {MAX_GRACE_S:g} seconds")
    return Replace(float(value))

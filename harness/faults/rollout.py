"""Each instance of the target is replaced in its turn: a rolling update.

Parameters:
    grace_s: seconds between preStop and SIGKILL, as a kubelet's grace period.
    pre_stop_s: seconds before SIGTERM that count towards the grace.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

from harness.faults._graces import Grace, grace
from harness.faults._lives import (
    SEEN_AGAIN_WITHIN_S,
    Before,
    accounted,
    capable,
    ended,
    new_life,
    seen_again,
)
from harness.model import Evidence
from harness.site import Rolled, Rolling, Sample, Site

NAME = "rollout"


class Rollout:
    """Replaces the instances one after the other, in place.

    Evidence, for each instance: how the old process ended, after SIGTERM, and the kernel's
    start time of the new one; and for all of them, the names that they give to their lives.
    """

    needs: tuple[type, ...] = (Rolling,)

    def __init__(self, allowed: Grace) -> None:
        self._grace = allowed

    def inject(self, site: Site) -> list[Evidence]:
        """Go through all of them; it is over when the last new one serves."""
        target = capable(site, Rolling, NAME)
        since_ns = time.time_ns()
        before = next((s for s in reversed(site.probe.samples()) if s.ok), None)
        rolled = target.roll_out(self._grace.pre_stop_s, self._grace.grace_s)
        evidence = [each for one in rolled for each in _replaced(one)]
        after = _all_again(site, len(rolled)) if before is not None and before.boot_id else None
        count = len(rolled)
        told = accounted(
            site,
            since_ns,
            f"{count} pods were to be deleted and ended, and as many were created and started",
            lambda actions: all(
                sum(told.split()[0] == action for told in actions) == count
                for action in ("delete", "die", "create", "start")
            ),
        )
        return [*evidence, *_new_names(before, after, count), *told]

    def heal(self, site: Site) -> list[Evidence]:
        """Do nothing: the new ones serve."""
        del site
        return []


def _replaced(one: Rolled) -> list[Evidence]:
    stopped = one.stopped
    before = Before(one.before, None, stopped.asked_ns)
    took_s = (stopped.exit.at_ns - stopped.asked_ns) / 1e9
    if stopped.killed_ns is None:
        how = f"by itself {took_s:.2f} s after SIGTERM"
        right = stopped.exit.signal in {None, signal.SIGTERM}
    else:
        how = f"by SIGKILL {took_s:.2f} s after SIGTERM"
        right = stopped.killed_ns >= stopped.asked_ns
    return [
        ended(before, stopped.exit, f"the old process ended {how}", right and took_s >= 0),
        new_life(before, one.after),
    ]


def _all_again(site: Site, count: int) -> Sample | None:
    """Wait until all answer in one look; who answers of them, when they never do."""
    together = site.probe.wait_for(
        lambda sample: sample.ok and len(sample.boot_id.split("+")) == count, SEEN_AGAIN_WITHIN_S
    )
    return together or seen_again(site)


def _new_names(before: Sample | None, after: Sample | None, count: int) -> list[Evidence]:
    """Return what the instances say of themselves; nothing for those that have no boot id."""
    if before is None or not before.boot_id:
        return []
    old = set(before.boot_id.split("+"))
    new = set(after.boot_id.split("+")) if after else set()
    return [
        Evidence(
            source="boot-id",
            claim="every instance gives itself another boot id",
            value=f"{len(new - old)} new of {count}",
            holds=len(new) == count and not new & old,
            at_ns=after.answered_ns if after else time.time_ns(),
        )
    ]


def build(parameters: Mapping[str, str | int | float]) -> Rollout:
    """Return the fault.

    Raises:
        FaultError: a parameter is unknown, impossible, or contradicts another.
    """
    return Rollout(grace(NAME, parameters))

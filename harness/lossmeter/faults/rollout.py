"""Each instance of the target is replaced in its turn: a rolling update."""

from __future__ import annotations

import signal
import time

from lossmeter.faults._fault import Fault, Strikes
from lossmeter.faults._graces import GraceAndPreStop
from lossmeter.faults._lifetimes import (
    SEEN_AGAIN_WITHIN_S,
    Before,
    accounted,
    ended,
    last_answer,
    new_process,
    seen_again,
)
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Rolled, Rolling, Sample, Site


class Rollout(Fault[GraceAndPreStop]):
    """Replaces the instances one after the other, in place.

    Evidence, for each instance: how the old process ended, after SIGTERM, and the kernel's
    start time of the new one; and for all of them, their boot ids.
    """

    takes = GraceAndPreStop
    needs = (Rolling,)
    strikes = frozenset({Strikes.TARGET})

    def inject(self, site: Site) -> list[Evidence]:
        """Go through all of them; it is over when the last new one serves."""
        target = self.capable(site, Rolling)
        since_ns = time.time_ns()
        before = last_answer(site.probe.samples())
        rolled = target.roll_out(self.asked.pre_stop_s, self.asked.grace_s)
        evidence = [each for one in rolled for each in _replaced(one)]
        after = _all_again(site, len(rolled)) if before is not None and before.boot_id else None
        count = len(rolled)
        said = accounted(
            site,
            since_ns,
            plural(
                count,
                "pod was to be deleted and ended, and another was created and started",
                "pods were to be deleted and ended, and as many were created and started",
            ),
            lambda actions: all(
                sum(said.split()[0] == action for said in actions) == count
                for action in ("delete", "die", "create", "start")
            ),
        )
        return [*evidence, *_new_names(before, after, count), *said]


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
        new_process(before, one.after),
    ]


def _all_again(site: Site, count: int) -> Sample | None:
    """Wait until all answer in one look; who answers of them, when they never do."""
    together = site.probe.wait_for(
        lambda sample: sample.ok and len(sample.boot_id.split("+")) == count, SEEN_AGAIN_WITHIN_S
    )
    return together or seen_again(site)


def _new_names(before: Sample | None, after: Sample | None, count: int) -> list[Evidence]:
    """Return that all boot ids changed; nothing for instances that have none."""
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

"""The target is frozen for a while and goes on as if nothing had been: a stalled machine.

Parameters:
    process: whom it strikes, by name; default: all of the target.
"""

from __future__ import annotations

import time

from lossmeter.faults._fault import now
from lossmeter.faults._lifetimes import (
    Before,
    cpu_s,
    recorded,
    same_process,
    seen_again,
    watched,
)
from lossmeter.faults._parts import AtProcess, AtTarget
from lossmeter.model import Evidence, plural
from lossmeter.world.site import Pausable, ProcessTree, Site

# The kernel counts in hundredths of a second, and each may have been about to be counted.
AT_MOST_S = 0.05
FROZEN = ("stopped", "paused", "frozen")


class Pause(AtTarget[AtProcess]):
    """Freezes the target.

    Evidence: the state of the process, the gap in the health probe or, of a process that is
    not probed, that it used no CPU; that the same process goes on afterwards, and the engine's
    record where there is one.
    """

    needs = (Pausable,)

    _before: Before | None = None
    _paused_ns = 0
    _used_s = 0.0

    def strike(self, site: Site) -> list[Evidence]:
        """Freeze it."""
        target = self.capable(site, Pausable)
        self._before = Before.look(target, site.probe.samples())
        state = target.pause()
        self._paused_ns, self._used_s = time.time_ns(), cpu_s(site)
        frozen = any(word in state.lower() for word in FROZEN)
        held = now("process-state", "the target is frozen", state, frozen)
        return [
            held,
            *recorded(site, self._before.at_ns, "the engine paused it", {"pause"}.issubset),
        ]

    def mend(self, site: Site) -> list[Evidence]:
        """Let it go on."""
        target = self.capable(site, Pausable)
        resumed_ns, used_s = time.time_ns(), cpu_s(site) - self._used_s
        target.resume()
        if self._before is None or not self._paused_ns:
            return []
        claim = "the engine let it go on"
        return [
            *self._silence(site, resumed_ns, used_s),
            same_process(self._before, target),
            *recorded(site, self._paused_ns, claim, {"unpause"}.issubset),
        ]

    def _silence(self, site: Site, resumed_ns: int, used_s: float) -> list[Evidence]:
        if not watched(site):
            return _idle(used_s) if isinstance(site, ProcessTree) else []
        again = seen_again(site)
        answers = [
            s
            for s in site.probe.samples()
            # An answer may have been on its way at the moment of the freeze.
            if s.ok and self._paused_ns < s.asked_ns and s.answered_ns < resumed_ns
        ]
        within_s = (resumed_ns - self._paused_ns) / 1e9
        silence = Evidence(
            source="health-probe",
            claim="the target answered nothing while it was frozen, and again afterwards",
            value=f"{plural(len(answers), 'answer')} in {within_s:.3f} s",
            holds=not answers and again is not None,
            at_ns=resumed_ns,
        )
        return [silence]


def _idle(used_s: float) -> list[Evidence]:
    claim = "its processes used no CPU while they were frozen"
    return [now("cpu-time", claim, f"{used_s:.2f} s", used_s <= AT_MOST_S)]

"""The target is frozen for a while and goes on as if nothing had been: a stalled machine."""

from __future__ import annotations

import time
from collections.abc import Mapping

from harness.faults._lives import Before, capable, did, no_parameters, recorded, seen_again
from harness.model import Evidence
from harness.site import Pausable, Site

NAME = "pause"
FROZEN = ("stopped", "paused", "frozen")


class Pause:
    """Freezes the target.

    Evidence: the state of the process, the gap in the health probe, that the same life
    goes on afterwards, and the engine's record where there is one.
    """

    needs: tuple[type, ...] = (Pausable,)

    def __init__(self) -> None:
        self._before: Before | None = None
        self._paused_ns = 0

    def inject(self, site: Site) -> list[Evidence]:
        """Freeze it."""
        target = capable(site, Pausable, NAME)
        self._before = Before.look(target, site.probe.samples())
        state = target.pause()
        self._paused_ns = time.time_ns()
        held = Evidence(
            source="process-state",
            claim="the target is frozen",
            value=state,
            holds=any(word in state.lower() for word in FROZEN),
            at_ns=self._paused_ns,
        )
        return [held, *recorded(site, self._before.at_ns, "the engine paused it", did("pause"))]

    def heal(self, site: Site) -> list[Evidence]:
        """Let it go on."""
        target = capable(site, Pausable, NAME)
        resumed_ns = time.time_ns()
        target.resume()
        if self._before is None or not self._paused_ns:
            return []
        again = seen_again(site)
        answers = [
            s
            for s in site.probe.samples()
            # An answer may have been on its way at the moment of the freeze.
            if s.ok and self._paused_ns < s.asked_ns and s.answered_ns < resumed_ns
        ]
        silence = Evidence(
            source="health-probe",
            claim="the target answered nothing while it was frozen, and again afterwards",
            value=f"{len(answers)} answers in {(resumed_ns - self._paused_ns) / 1e9:.3f} s",
            holds=not answers and again is not None,
            at_ns=resumed_ns,
        )
        now = target.incarnation()
        same = (now.pid, now.start_ticks) == (
            self._before.life.pid,
            self._before.life.start_ticks,
        )
        life = Evidence(
            source="process-table",
            claim="the same process goes on",
            value=f"pid and start tick {now.pid}/{now.start_ticks}",
            holds=same,
            at_ns=time.time_ns(),
        )
        claim = "the engine let it go on"
        return [silence, life, *recorded(site, self._paused_ns, claim, did("unpause"))]


def build(parameters: Mapping[str, str | int | float]) -> Pause:
    """Return the fault; it takes no parameters."""
    no_parameters(NAME, parameters)
    return Pause()

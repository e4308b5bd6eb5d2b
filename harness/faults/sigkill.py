"""SIGKILL to the target's main process, then a restart: a crash, an OOM kill, ``kill -9``."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

from harness.errors import FaultError
from harness.model import Evidence
from harness.site import Exit, Incarnation, Killable, Sample, Site

SEEN_AGAIN_WITHIN_S = 10.0


class Sigkill:
    """Kills the target and starts it again.

    Evidence: the wait status of the process, the kernel's process start time, the gap in
    the health probe, and the target's own name for its life where it has one.
    """

    needs = (Killable,)

    def __init__(self) -> None:
        self._before: Incarnation | None = None
        self._last: Sample | None = None
        self._exit: Exit | None = None

    def inject(self, site: Site) -> list[Evidence]:
        """Send the signal and wait for the end of the process."""
        killable = _killable(site)
        self._before = killable.incarnation()
        self._last = next((s for s in reversed(site.probe.samples()) if s.ok), None)
        self._exit = killable.kill()
        killed = self._exit.signal == signal.SIGKILL
        return [
            Evidence(
                source=self._exit.source,
                claim="the process was ended by SIGKILL",
                value=f"pid {self._before.pid}, exit code {self._exit.code}",
                holds=killed,
                at_ns=self._exit.at_ns,
            )
        ]

    def heal(self, site: Site) -> list[Evidence]:
        """Start the target again and compare its new life with the old one."""
        if self._before is None or self._exit is None:
            return []
        after = _killable(site).start()
        again = site.probe.wait_for(lambda sample: sample.ok, SEEN_AGAIN_WITHIN_S)
        return [
            self._new_life(self._before, after),
            self._gap(site, self._exit, again),
            *self._new_boot(again),
        ]

    def _new_life(self, before: Incarnation, after: Incarnation) -> Evidence:
        old, new = (before.pid, before.start_ticks), (after.pid, after.start_ticks)
        return Evidence(
            source="process-table",
            claim="the process that serves now started later than the one that was killed",
            value=f"pid and start tick {old[0]}/{old[1]} became {new[0]}/{new[1]}",
            holds=old != new and after.start_ticks >= before.start_ticks,
            at_ns=after.started_ns,
        )

    def _gap(self, site: Site, ended: Exit, again: Sample | None) -> Evidence:
        until_ns = again.asked_ns if again else time.time_ns()
        failed = [
            s for s in site.probe.samples() if not s.ok and ended.at_ns <= s.answered_ns <= until_ns
        ]
        seconds = (until_ns - ended.at_ns) / 1e9
        return Evidence(
            source="health-probe",
            claim="the target did not answer between its end and its restart",
            value=f"{len(failed)} probes without an answer within {seconds:.3f} s",
            holds=bool(failed) and again is not None,
            at_ns=ended.at_ns,
        )

    def _new_boot(self, again: Sample | None) -> list[Evidence]:
        if self._last is None or not self._last.boot_id:
            return []
        now = again.boot_id if again else "no answer"
        return [
            Evidence(
                source="boot-id",
                claim="the target gives itself another boot id",
                value=f"{self._last.boot_id} became {now}",
                holds=now != self._last.boot_id,
                at_ns=again.answered_ns if again else time.time_ns(),
            )
        ]


def _killable(site: Site) -> Killable:
    if not isinstance(site, Killable):
        raise FaultError("sigkill needs a target whose process the harness can kill and restart")
    return site


def build(parameters: Mapping[str, str | int | float]) -> Sigkill:
    """Return the fault; it takes no parameters."""
    if parameters:
        raise FaultError(f"sigkill takes no parameters, got {', '.join(parameters)}")
    return Sigkill()

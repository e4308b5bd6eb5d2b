"""The load of a run: started, watched to its end, and reported as it goes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lossmeter.errors import LoadError, UsageError
from lossmeter.load.acquainted import SECRET_VARIABLE, secret
from lossmeter.load.plan import ENVIRONMENT_VARIABLE, Head, LoadPlan
from lossmeter.load.process import IN_POD, events_sent, load_command, pod_command
from lossmeter.model import Address
from lossmeter.plan.catalogue import Cell
from lossmeter.plan.http import Http
from lossmeter.record.tally import Tally
from lossmeter.run.cpu_use import CpuUse
from lossmeter.run.ingress import Ingress
from lossmeter.run.narrator import Narrator, Progress
from lossmeter.run.probe import HealthProbe
from lossmeter.world.caller import Caller
from lossmeter.world.runtime import (
    HelperProcess,
    LoadInPods,
    ProcessesNamed,
    RunningSite,
    in_service,
)
from lossmeter.world.waiting import wait_for

START_WITHIN_S = 20.0
# Load processes on other machines are started by hand.
ELSEWHERE_WITHIN_S = 300.0


@dataclass(slots=True)
class LoadPhase:
    """The load of one run."""

    cell: Cell
    seed: int
    folder: Path
    site: RunningSite
    probe: HealthProbe
    narrator: Narrator
    tally: Tally
    ingress: Ingress | None = None
    began: float = field(init=False, default=0.0)
    _process: HelperProcess = field(init=False)
    _cpu_use: CpuUse | None = field(init=False, default=None)

    def start(self) -> None:
        """Start the load's process, and wait for its first event.

        Raises:
            LoadError: it ended before, or sent nothing in time.
        """
        load = self.cell.variant.load
        if load.listen:
            self.narrator.say(
                f"waiting for {load.processes} load processes: start `{SECRET_VARIABLE}={secret()} "
                "lossmeter load-worker "
                f"{load.listen}` where the load is to come from"
            )
        plan = self._plan()
        command = load_command(plan, self._limit_s())
        given = command.environment
        if self.ingress is not None:
            given = given | {ENVIRONMENT_VARIABLE: json.dumps(dict(self.ingress.environment))}
        self._process = self.site.helper("load", command.argv, given)
        if load.pods and isinstance(self.site, LoadInPods):
            worker = pod_command(Address.parse(plan.listen), IN_POD)
            self.site.start_load_pods(worker.argv, worker.environment, str(IN_POD))
        self._wait_for_first_event()
        if isinstance(self.site, ProcessesNamed):
            self._cpu_use = CpuUse(self.site.processes_by_name)

    def running(self) -> bool:
        """Return whether the load still runs.

        Raises:
            LoadError: it should have ended long ago.
        """
        if self._process.poll() is not None:
            return False
        limit_s = self._limit_s() + START_WITHIN_S
        if time.monotonic() - self.began > limit_s:
            raise LoadError(f"the load did not end within {limit_s:g} s")
        if self._cpu_use is not None:
            self._cpu_use.look()
        return True

    def cpus(self) -> dict[str, float]:
        """Return how many CPUs each part of the run used so far, by its name; see ``CpuUse``."""
        return self._cpu_use.cpus() if self._cpu_use is not None else {}

    def exit_code(self) -> int | None:
        """Return the exit code of its process, or None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """End it at once, if it still runs."""
        if hasattr(self, "_process"):
            self._process.kill()

    def progress(self, faults: tuple[str, ...]) -> Progress:
        """Return how far the load is, and what the faults do meanwhile."""
        planned, sample = self.cell.variant.load, self.probe.last()
        elapsed_s = time.monotonic() - self.began
        self.tally.look()
        return Progress(
            phase="load",
            done=min(1.0, elapsed_s / planned.duration_s),
            left_s=max(0.0, planned.duration_s - elapsed_s),
            rate_asked_per_s=planned.rate_at(elapsed_s),
            rate_kept_per_s=self.tally.rate_per_s,
            sent=self.tally.sent,
            planned=planned.events,
            acked=self.tally.acked,
            refused=self.tally.refused,
            queue_length=sample.queue_length if sample else None,
            answers=sample is not None and sample.ok,
            faults=faults,
        )

    def _plan(self) -> LoadPlan:
        load, http = self.cell.variant.load, self.cell.target.http
        address = urlsplit(self.site.base_url)
        host, port = address.hostname or "127.0.0.1", address.port or 80
        listen, several = load.listen, self.cell.variant.instances > 1
        if load.listen:
            host = Address.parse(load.listen).host
        if load.pods:
            master, reached = self._place_of_pods()
            host, port = reached.host, reached.port
            # The cluster itself chooses among the instances.
            listen, several = str(master), False
        return LoadPlan(
            host=host,
            port=port,
            path=http.path(http.events),
            body=http.body,
            accepted=list(http.accepted),
            refused=list(http.refused),
            timeout_s=self._timeout_s,
            phases=[(phase.rate_per_s, phase.duration_s) for phase in load.phases],
            producers=load.producers,
            payload_bytes=load.payload_bytes,
            max_in_flight=load.max_in_flight,
            processes=load.processes,
            listen=listen,
            seed=self.seed,
            folder=str(self.folder),
            in_service=str(in_service(self.folder)) if several else "",
            feeder=self.ingress.feeder if self.ingress else None,
            head=_head(http),
        )

    @property
    def _timeout_s(self) -> float:
        """Return how long an answer is waited for."""
        return self.ingress.timeout_s if self.ingress else self.cell.target.http.timeout_s

    def _place_of_pods(self) -> tuple[Address, Address]:
        if not isinstance(self.site, LoadInPods):
            raise UsageError("this runtime runs no pods for the load; leave out --load-pods")
        return self.site.load_place()

    def _limit_s(self) -> float:
        """Return a bound on the load's process, for when the target never answers."""
        timeouts_s = 2 * self._timeout_s
        return self.cell.variant.load.duration_s + timeouts_s + self._start_within_s()

    def _start_within_s(self) -> float:
        load = self.cell.variant.load
        within_s = ELSEWHERE_WITHIN_S if load.listen or load.pods else START_WITHIN_S
        return within_s + (self.ingress.feeder.lead_s if self.ingress else 0.0)

    def _wait_for_first_event(self) -> None:
        within_s = self._start_within_s()

        def sends() -> bool:
            if events_sent(self.folder):
                return True
            if (code := self._process.poll()) is not None:
                why = ", it cannot write its journal" if code == os.EX_IOERR else ""
                raise LoadError(
                    f"the load ended with exit code {code} before its first event{why}; "
                    f"its log is {self.folder / 'logs' / 'load.log'}"
                )
            return False

        if not wait_for(sends, within_s, 0.005):
            raise LoadError(f"the load sent nothing within {within_s:g} s")
        self.began = time.monotonic()


def _head(http: Http) -> Head:
    """Return what is said with each request; raises UsageError as ``Caller`` does."""
    caller = Caller(http)
    name = http.tls.server_name if http.tls else None
    return Head(http.method, caller.query, caller.headers, caller.certificates, name or "")

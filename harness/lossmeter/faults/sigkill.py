"""SIGKILL to a process of the target, then a restart: a crash, ``kill -9``."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lossmeter.errors import FaultError
from lossmeter.faults._children import Killing
from lossmeter.faults._fault import Parameters, now
from lossmeter.faults._lifetimes import (
    TREE,
    Before,
    accounted,
    at_work,
    ended,
    orphans,
    outlived,
    recorded,
    serves_again,
)
from lossmeter.faults._parts import AtProcess, AtTarget
from lossmeter.model import Evidence, plural
from lossmeter.world.process_table import read
from lossmeter.world.site import (
    Exit,
    Incarnation,
    Killable,
    Process,
    ProcessTree,
    RestartedByPolicy,
    Site,
)

RESTARTED_WITHIN_S = 30.0
CODE = 128 + signal.SIGKILL


class Takes(AtProcess):
    """Whom it is sent to, who sends it, and who starts the target again.

    ``main`` is the main process alone, ``child`` the youngest process that it has forked,
    ``tree`` all that it has brought forth. Where that is not said it is the main process, and
    what outlives it speaks against a crash of the whole. Through a container engine a kill
    counts as a wish to stop; by the host's process id it does not.
    """

    whom: Annotated[
        Literal["main", "child", "tree"] | None, Field(description="main, child or tree")
    ] = None
    by: Annotated[Literal["runtime", "host"], Field(description="runtime or host")] = "runtime"
    restart: Annotated[Literal["harness", "policy"], Field(description="harness or policy")] = (
        "harness"
    )

    @model_validator(mode="after")
    def _policies_act(self) -> Self:
        if self.restart == "policy" and self.by != "host":
            raise ValueError(
                "restart = 'policy' needs by = 'host': a kill through the engine disables its "
                "restart policies"
            )
        if self.whom is not None and self.by == "host":
            raise ValueError(f"whom = {self.whom!r} needs by = 'runtime', which is the default")
        return self


class Sigkill(AtTarget[Takes]):
    """Kills the target and starts it again.

    Evidence: the wait status of the process, the kernel's process start time, the gap in
    the health probe, the engine's record where there is one, and the target's boot id
    where it has one; what outlived the main process, where that alone was to be killed, and
    that nothing did, where all were. Of a child ``Killing`` has the evidence.
    """

    takes = Takes
    needs = (Killable,)
    kills = True

    _before: Before | None = None
    _policy_on = False
    _left: list[Process] | None = None
    _child: Killing | None = None

    @classmethod
    def needed(cls, asked: Parameters) -> tuple[type, ...]:
        """Return what it takes to kill from the host, or others than the main process."""
        if not isinstance(asked, Takes):
            return cls.needs
        if asked.by == "host":
            return (RestartedByPolicy,)
        return cls.needs if asked.whom in {None, "main"} else (ProcessTree,)

    def strike(self, site: Site) -> list[Evidence]:
        """Send the signal; wait for the end of the process where nobody restarts it."""
        killable = self.capable(site, Killable)
        if self.asked.whom == "child":
            self._child = Killing()
            return self._child.strike(site, self.capable(site, ProcessTree))
        if self.asked.restart == "policy":
            self.capable(site, RestartedByPolicy).restart_policy(on=True)
            self._policy_on = True
        self._before = Before.look(killable, site.probe.samples())
        if self.asked.by == "host":
            self.gone_ns = self.capable(site, RestartedByPolicy).kill_from_host()
            return self._engine(site)
        every = site.processes() if isinstance(site, ProcessTree) else []
        end = self._kill(site, killable)
        self.gone_ns = end.at_ns
        left = self._outlived(site, self._before.process.pid, every)
        return [*self._wait_status(self._before, end), *left, *self._engine(site)]

    def _kill(self, site: Site, killable: Killable) -> Exit:
        whole = self.asked.whom == "tree"
        return self.capable(site, ProcessTree).kill_tree() if whole else killable.kill()

    def _outlived(self, site: Site, main_pid: int, every: Sequence[Process]) -> list[Evidence]:
        """Return what outlived the main process: a finding where that alone was to be killed."""
        if self.asked.whom is None:
            return outlived(site, main_pid)
        if self.asked.whom == "main":
            self._left = orphans(site, main_pid)
            said = at_work(site, self._left) if self._left else "nothing did"
            claim = "the main process alone was killed, and what outlives it is left to itself"
            return [now(TREE, claim, said, holds=True)]
        runs = [each for each in every if _same(read(each.pid), each)]
        claim = "all that the target had brought forth was ended"
        said = ", ".join(f"process {each.pid} ({each.name})" for each in runs)
        return [
            now(
                TREE,
                claim,
                said or f"none of {plural(len(every), 'process', 'processes')} is left",
                not runs,
            )
        ]

    def mend(self, site: Site) -> list[Evidence]:
        """See the target serve again, and compare its new process with the old one."""
        if self._child is not None:
            return self._child.mend(site, self.capable(site, ProcessTree))
        try:
            if self._before is None or self.gone_ns is None:
                return []
            after = self._again(site, self._before)
        finally:
            if self._policy_on:
                self.capable(site, RestartedByPolicy).restart_policy(on=False)
                self._policy_on = False
        return [
            *serves_again(site, self._before, after, self.gone_ns, others=bool(self._left)),
            *accounted(
                site,
                self._before.at_ns,
                "the container ended by SIGKILL, not for want of memory, and started again",
                lambda said: {f"die {CODE}", "start"} <= set(said) and "oom" not in said,
            ),
        ]

    def _again(self, site: Site, before: Before) -> Incarnation:
        if self.asked.restart == "harness":
            return self.capable(site, Killable).start()
        restarted = self.capable(site, RestartedByPolicy)
        after = restarted.wait_restarted(before.process, RESTARTED_WITHIN_S)
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
        if self.asked.by == "host":
            claim = "the engine saw the process end by SIGKILL, and had not sent it"
            return recorded(
                site,
                self._before.at_ns,
                claim,
                lambda said: die in said and kill not in said,
            )
        claim = "the engine sent SIGKILL and saw the process end by it"
        return recorded(site, self._before.at_ns, claim, {die, kill}.issubset)


def _same(seen: Process | None, known: Process) -> bool:
    return seen is not None and not seen.ended and seen.start_ticks == known.start_ticks

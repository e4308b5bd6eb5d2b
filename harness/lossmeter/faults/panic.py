"""The target meets an error that nobody handles and aborts; then it is started again."""

from __future__ import annotations

import signal
from typing import Annotated

from pydantic import Field

from lossmeter.errors import FaultError
from lossmeter.faults._fault import now
from lossmeter.faults._lifetimes import (
    Before,
    ended,
    ended_by_itself,
    outlived,
    recorded,
    serves_again,
)
from lossmeter.faults._parts import AtProcess, AtTarget
from lossmeter.model import Evidence
from lossmeter.world.site import Ending, Exit, Grouped, Site

ENDS_WITHIN_S = 10.0
ANSWER_S = 5.0

# What the run-times of the usual languages write when they give up.
LAST_WORDS = ("Traceback (most", "panic: ", "panicked at", "terminate called", "Exception in thr")


class Takes(AtProcess):
    """Where the target is asked for it."""

    path: Annotated[
        str, Field(pattern="^/", description="where the target is asked for it, e.g. '/panic'")
    ] = "/panic"


class Panic(AtTarget[Takes]):
    """Asks the target to abort.

    Evidence: an exit code that is an error and no signal from outside, the last words in
    the target's log, an engine's record without a kill, the kernel's process start time, the
    gap in the health probe, and the target's boot id.
    """

    takes = Takes
    needs = (Ending,)
    over_http = True

    _before: Before | None = None
    _exit: Exit | None = None

    def strike(self, site: Site) -> list[Evidence]:
        """Ask for it and wait for the end of the process."""
        target = self.capable(site, Ending)
        words = _last_words(site)
        self._before = Before.look(target, site.probe.samples())
        _ask(site, self.asked.path)
        self._exit = target.wait_exit(ENDS_WITHIN_S)
        if self._exit is None:
            raise FaultError(
                f"the target still ran {ENDS_WITHIN_S:g} s after POST {self.asked.path}"
            )
        own = self._exit.signal in {None, signal.SIGABRT, signal.SIGSEGV}
        claim = "the process ended with an error of its own"
        return [
            ended(self._before, self._exit, claim, own and self._exit.code != 0),
            _spoken(_last_words(site) - words),
            *outlived(site, self._before.process.pid),
            *recorded(
                site,
                self._before.at_ns,
                "the engine saw it end, and had sent no signal",
                ended_by_itself,
            ),
        ]

    def mend(self, site: Site) -> list[Evidence]:
        """Start it again, and compare its new process with the old one."""
        if self._before is None or self._exit is None:
            return []
        after = self.capable(site, Ending).start()
        return serves_again(site, self._before, after, self._exit.at_ns)


def _ask(site: Site, path: str) -> None:
    # That nobody answers is no wonder: the target may abort before it does.
    status = site.probe.post(path, ANSWER_S)
    if status is not None and status // 100 != 2:
        raise FaultError(f"POST {path} was answered with {status} instead of an end")


def _last_words(site: Site) -> int:
    text = site.log(site.part if isinstance(site, Grouped) else "target")
    return sum(text.count(words) for words in LAST_WORDS)


def _spoken(count: int) -> Evidence:
    claim = "its log ends with an error that nobody handled"
    return now("target-log", claim, f"{count} more than before", count > 0)

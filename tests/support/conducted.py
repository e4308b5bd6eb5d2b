"""Faults conducted on no target at all: what a test needs to see when each comes and goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from lossmeter.errors import FaultError
from lossmeter.experiment import PlannedFault
from lossmeter.faults._fault import Chosen, Fault, Parameters, Strikes, now
from lossmeter.model import AckLevel, Evidence
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.http import Http
from lossmeter.record.facts import Facts, FaultRecord
from lossmeter.run.conduct import Conductor, Counters
from lossmeter.run.narrator import Silent
from lossmeter.run.probe import HealthProbe


def written_facts() -> Facts:
    """Return the facts of a run that has not begun."""
    return Facts(
        run_id="r",
        experiment="e",
        hypothesis="h",
        target="t",
        ack_level=AckLevel.ENQUEUED,
        runtime="local",
        seed=1,
        events_planned=1,
        rate_per_s=1,
        exact=False,
    )


@dataclass
class Site:
    """A site on which each fault notes what it did, in order."""

    steps: list[str] = field(default_factory=list)


class Noting(Fault[Parameters]):
    """Notes its injection and its healing, by its name."""

    def inject(self, site: object) -> list[Evidence]:
        """Note it."""
        assert isinstance(site, Site)
        site.steps.append(f"+{self.name()}")
        return [now("test", f"{self.name()} is there", "", True)]

    def heal(self, site: object) -> list[Evidence]:
        """Note it."""
        assert isinstance(site, Site)
        site.steps.append(f"-{self.name()}")
        return [now("test", f"{self.name()} is gone", "", True)]


def kind_of(
    named: str,
    *strikes: Strikes,
    inject: Callable[[], None] = lambda: None,
    heal: Callable[[], None] = lambda: None,
    servers: tuple[str, ...] = ("postgres",),
) -> type[Noting]:
    """Return a fault that strikes something, and does something."""
    struck = frozenset(strikes)
    at = servers if struck - {Strikes.TARGET} else ()

    class Kind(Noting):
        strikes: ClassVar[frozenset[Strikes]] = struck
        servers: ClassVar[tuple[str, ...]] = at

        @classmethod
        def name(cls) -> str:
            return named

        def inject(self, site: object) -> list[Evidence]:
            seen = super().inject(site)
            inject()
            return seen

        def heal(self, site: object) -> list[Evidence]:
            heal()
            return super().heal(site)

    return Kind


def fail() -> None:
    """Fail as a fault does."""
    raise FaultError("it does not work")


class Stage:
    """Conducts faults beside a load that lasts until it is ended.

    Args:
        folder: for the probe's samples.
        patch: puts the kinds in the place of the faults that there are.
        kinds: by the names that the plan has.
        planned: the faults.
        counters: what conditions read.
    """

    def __init__(
        self,
        folder: Path,
        patch: pytest.MonkeyPatch,
        kinds: Sequence[type[Noting]],
        planned: Sequence[PlannedFault],
        counters: Counters | None = None,
    ) -> None:
        known = {kind.name(): kind for kind in kinds}
        patch.setattr(
            "lossmeter.run.conduct.choose", lambda name, _: Chosen(known[name], Parameters())
        )
        self.site, self.facts = Site(), written_facts()
        self.conductor = Conductor(
            self.site,  # type: ignore[arg-type]
            HealthProbe("http://127.0.0.1:1", Http(), folder / "probe.jsonl"),
            self.facts,
            Silent(),
            planned,
            target=Catalogue.here().target("channel"),
            counters=counters,
        )
        self.began = time.monotonic()
        self.began_ns = time.time_ns()
        self.conductor.inject_before_load()
        self.conductor.begin(self.began)

    def play(self, within_s: float = 5.0) -> None:
        """Let all faults come to their end, then end the run."""
        deadline = time.monotonic() + within_s
        while self.conductor.busy():
            assert time.monotonic() < deadline, self.conductor.now()
            time.sleep(0.005)
        self.conductor.heal_rest()

    def cut_short(self) -> float:
        """End the run now; return how many seconds that took."""
        begin = time.monotonic()
        with suppress(FaultError):
            self.conductor.heal_rest()
        return time.monotonic() - begin

    def record(self, fault: str) -> FaultRecord:
        """Return the record of a fault."""
        return next(each for each in self.facts.faults if each.fault == fault)

    def at_s(self, instant_ns: int | None) -> float:
        """Return an instant as seconds since the load began."""
        assert instant_ns is not None
        return (instant_ns - self.began_ns) / 1e9


def threads_of_faults() -> list[str]:
    """Return the names of the threads that still conduct a fault."""
    return [t.name for t in threading.enumerate() if t.name.startswith("fault-")]

"""What faults at the target have in common: which of its parts they strike, all at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import Field

from lossmeter.errors import FaultError
from lossmeter.faults._fault import Fault, Parameters, Strikes, process_of
from lossmeter.model import Evidence
from lossmeter.world.site import Grouped, Site


class AtProcess(Parameters):
    """Which process of the target is struck; all of it where none is named."""

    process: Annotated[
        str,
        Field(description="the name of a process, e.g. 'worker', or of one of several, 'worker-0'"),
    ] = ""


A = TypeVar("A", bound=AtProcess)


class AtTarget(Fault[A], Generic[A]):
    """A fault at the target: ``strike`` and ``mend`` do it to one part.

    Where no process is named all of the target is struck; by a fault that asks it over HTTP,
    what takes requests.
    """

    takes: ClassVar[type[Parameters]] = AtProcess
    strikes = frozenset({Strikes.TARGET})

    _each: Sequence[tuple[AtTarget[A], Site]] = ()

    @abstractmethod
    def strike(self, site: Site) -> list[Evidence]:
        """Strike one part; raises as ``inject``."""

    def mend(self, site: Site) -> list[Evidence]:
        """Mend one part; does nothing where striking has; raises as ``heal``."""
        del site
        return []

    def inject(self, site: Site) -> list[Evidence]:
        """Strike each part that is meant, side by side."""
        parts = [site] if self.over_http and not self.asked.process else self._meant(site)
        self._each = [(type(self)(self.asked), part) for part in parts]
        (first, front), *others = self._each
        with ThreadPoolExecutor(len(parts)) as pool:
            done = [(part, pool.submit(one.strike, part)) for one, part in others]
            evidence = _named(front, first.strike(front))
            for part, future in done:
                evidence += _named(part, future.result())
        moments = [one.struck_ns for one, _ in self._each if one.struck_ns is not None]
        self.struck_ns = min(moments, default=None)
        gone = [one.gone_ns for one, _ in self._each if one.gone_ns is not None]
        self.gone_ns = max(gone, default=None)
        self.survived = all(one.survived for one, _ in self._each)
        return evidence

    def heal(self, site: Site) -> list[Evidence]:
        """Mend each in turn; one that cannot be mended does not keep the others from it."""
        del site
        evidence: list[Evidence] = []

        def mend(one: AtTarget[A], part: Site) -> None:
            evidence.extend(_named(part, one.mend(part)))

        with ExitStack() as stack:
            # The first to be started comes last on the stack.
            for each in reversed(self._each):
                stack.callback(mend, *each)
        return evidence

    def _meant(self, site: Site) -> list[Site]:
        named = self.asked.process
        if not isinstance(site, Grouped) or (not named and len(site.parts) < 2):
            return [site]
        found = [part for part in site.parts if named in {"", part, process_of(part)}]
        if not found:
            known = ", ".join(site.parts)
            raise FaultError(f"the target has no process {named!r}; it has {known}")
        return [site.at(part) for part in found]


def _named(site: Site, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Return evidence of one part; where there are several, its name stands before each reading."""
    if not isinstance(site, Grouped) or len(site.parts) < 2:
        return list(evidence)
    return [replace(each, value=f"{site.part}: {each.value}") for each in evidence]

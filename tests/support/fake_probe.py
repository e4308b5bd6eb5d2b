"""A probe that has seen what a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lossmeter.world.site import Sample


@dataclass
class FakeProbe:
    seen: list[Sample]
    after: Sample | None

    def samples(self) -> Sequence[Sample]:
        return self.seen

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        del wanted, timeout_s
        return self.after

"""A running target with the servers around it, and the probe that watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from lossmeter.world.site.seen import Endpoint, Sample


class Probe(Protocol):
    """The health probe that watches the target from outside during the whole run.

    ``runs`` says whether a target that takes no requests runs; None where one can be asked.
    """

    runs: Callable[[], bool] | None

    def samples(self) -> Sequence[Sample]:
        """Return all samples so far, oldest first."""

    def wait_for(self, wanted: Callable[[Sample], bool], timeout_s: float) -> Sample | None:
        """Return the first new sample that is wanted, or None when time is up."""

    def post(self, path: str, within_s: float) -> int | None:
        """Post to a path of the first instance; return the status, None without an answer."""

    def watch(self, base_urls: Sequence[str]) -> None:
        """Look at these instances from now on."""


@runtime_checkable
class Site(Protocol):
    """A running target with the servers around it."""

    base_url: str
    base_urls: Sequence[str]
    """Where each instance of the target is found; ``base_url`` is the first."""
    endpoints: Mapping[str, Endpoint]
    probe: Probe
    folder: Path

    def log(self, name: str) -> str:
        """Return what a server, or the target, has logged; nothing where that cannot be read."""

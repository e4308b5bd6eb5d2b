"""A server of Debian's packages, unpacked into the cache where the machine has none of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lossmeter.errors import CacheError, UnavailableError
from lossmeter.world.install import cache, debian


@dataclass(frozen=True, slots=True)
class DebianServer:
    """Where the programs of a server are, and how they come there.

    Attributes:
        name: of the server, and of its entry in the cache.
        what: is downloaded, in words.
        lack: one sentence, where this machine can unpack no packages.
        unpack: fills the entry, and says how far it has come.
        needs_mib: room that it takes.
        own: the folder of the machine's own, if it has one.
    """

    name: str
    what: str
    lack: str
    unpack: Callable[[Path, Callable[[str], None]], None]
    needs_mib: int
    own: Callable[[], Path | None] = lambda: None

    def find(self) -> Path | None:
        """Return the folder; None where the packages must be brought first."""
        return self.own() or cache.find(self.name, debian.system())

    def existing(self) -> Path:
        """Return the folder.

        Raises:
            CacheError: the packages must be brought first.
        """
        if (folder := self.find()) is None:
            raise CacheError(f"{self.missing(self.unfit())}; install it first")
        return folder

    def unfit(self) -> str | None:
        """Return why it is not there and cannot be had; or None."""
        return None if self.find() or debian.can_unpack() else self.lack

    def missing(self, unfit: str | None) -> str | None:
        """Return why it cannot be used now: what makes it ``unfit``, or that it is not there."""
        if unfit is not None or self.find():
            return unfit
        return f"{self.name} is not in the cache {cache.cache_root()}"

    def install(self, unfit: str | None, say: Callable[[str], None]) -> None:
        """Bring the packages, where they are not there.

        Raises:
            UnavailableError: something makes it ``unfit``.
        """
        if unfit is not None:
            raise UnavailableError(unfit)
        if self.find() is None:
            say(f"{self.name}: downloading {self.what}")

            def fill(to: Path) -> None:
                self.unpack(to, say)

            cache.entry(self.name, debian.system(), fill, needs_mib=self.needs_mib)

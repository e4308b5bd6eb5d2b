"""A program that is built from Go sources, with the modules that go.sum pins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lossmeter.world.install import cache
from lossmeter.world.install.go_modules import GoModules
from lossmeter.world.service import Recipe

_PROGRAM = "program"
INSIDE = {_PROGRAM: "/opt/program"}
_IMAGE = Path(__file__).with_name("images") / "go"
_NEEDS_MIB = 800


def bring(lock: Path, where: str, say: Callable[[str], None]) -> dict[str, str]:
    """Return ``program``, what the sources beside go.mod were built into.

    Raises:
        CacheError: no Go or no module could be had, one has another checksum, or they do not
            compile.
    """
    return {_PROGRAM: str(_built(lock, where, say))}


def recipe(lock: Path, where: str, say: Callable[[str], None]) -> Recipe:
    """Return how the same program gets into an image: it needs nothing there.

    Raises:
        CacheError: as ``bring``.
    """
    program = _built(lock, where, say)
    return Recipe("go-environment", _IMAGE, {_PROGRAM: program}, program.parent.name)


def _built(lock: Path, where: str, say: Callable[[str], None]) -> Path:
    modules = GoModules(lock.parent.name, lock.parent)

    def build(to: Path) -> None:
        say(f"{where}: building the Go program beside {lock.name}, once")
        # What is downloaded and compiled serves other programs as well.
        with modules.workshop(to, say, cache.cache_root() / "go-build") as shop:
            shop.build(".", to / _PROGRAM)

    folder = cache.entry("go-program", modules.fingerprint(), build, needs_mib=_NEEDS_MIB)
    return folder / _PROGRAM

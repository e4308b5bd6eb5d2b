"""Brings Prometheus and promtool: the machine's own, or Debian's package in the cache.

The package is downloaded and unpacked, not installed, so no root is needed and no service is
started. apt verifies what it downloads.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.world import programs
from lossmeter.world.install import debian
from lossmeter.world.install.cache import entry, find

PACKAGE = "prometheus"
BINARIES = ("prometheus", "promtool")
NEEDS_MIB = 500
_VERSION_S = 20.0
_LACK = (
    "Prometheus is not installed on this machine, and without apt-get and dpkg-deb its package "
    "cannot be had; install prometheus and promtool so that they are found by PATH"
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of the two programs."""

    prometheus: Path
    promtool: Path

    @property
    def version(self) -> str:
        """Return e.g. ``Prometheus 2.42.0``, as the server says."""
        return _version(self.prometheus)


def installed() -> Binaries | None:
    """Return where the programs are; None when they must be brought first."""
    own = [shutil.which(name) for name in BINARIES]
    if own[0] is not None and own[1] is not None:
        return Binaries(Path(own[0]), Path(own[1]))
    folder = find(PACKAGE, debian.system())
    return None if folder is None else _in(folder)


def install(say: Callable[[str], None]) -> Binaries:
    """Return where the programs are, bringing them first where they are missing.

    Raises:
        UnavailableError: this machine has neither them nor apt.
        CacheError: the package could not be downloaded or unpacked.
    """
    found = installed()
    if found is not None:
        return found
    if not debian.can_unpack():
        raise UnavailableError(_LACK)
    say("prometheus: downloading Debian's package")
    fill = partial(_build, say=say)
    return _in(entry(PACKAGE, debian.system(), fill, needs_mib=NEEDS_MIB))


def _in(folder: Path) -> Binaries:
    return Binaries(*(folder / name for name in BINARIES))


def _build(to: Path, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(dir=to) as name:
        unpacked = Path(name)
        debian.unpack(PACKAGE, (PACKAGE,), unpacked, say)
        for binary in BINARIES:
            (unpacked / "usr" / "bin" / binary).rename(to / binary)
        licence = unpacked / "usr" / "share" / "doc" / PACKAGE / "copyright"
        if licence.is_file():
            licence.rename(to / "copyright")


@cache
def _version(binary: Path) -> str:
    ended = programs.run((str(binary), "--version"), _VERSION_S)
    reported = re.search(r"version (\d+(?:\.\d+)+)", ended.out + ended.err)
    return f"Prometheus {reported.group(1)}" if reported else "Prometheus"

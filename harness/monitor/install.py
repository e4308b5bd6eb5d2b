"""Brings Prometheus and promtool: the machine's own, or Debian's package in the cache.

The package is downloaded and unpacked, not installed, so no root is needed and no service is
started. apt verifies what it downloads.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import programs
from harness.cache import entry, find
from harness.errors import CacheError, UnavailableError

PACKAGE = "prometheus"
BINARIES = ("prometheus", "promtool")
NEEDS_MIB = 500
_STEP_S = 300.0
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
    folder = find(PACKAGE, _system())
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
    if any(shutil.which(tool) is None for tool in ("apt-get", "dpkg-deb")):
        raise UnavailableError(_LACK)
    say("prometheus: downloading Debian's package")
    return _in(entry(PACKAGE, _system(), _build, needs_mib=NEEDS_MIB))


def _in(folder: Path) -> Binaries:
    return Binaries(*(folder / name for name in BINARIES))


def _system() -> str:
    """Return a name for the system whose package it is, e.g. ``debian-12-x86_64``."""
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        told = {}
    system = f"{told.get('ID', 'linux')}-{told.get('VERSION_ID', 'unknown')}"
    return re.sub(r"[^A-Za-z0-9._+-]", "-", f"{system}-{platform.machine()}")


def _build(to: Path) -> None:
    with tempfile.TemporaryDirectory(dir=to) as name:
        scratch = Path(name)
        package = _download(scratch)
        unpacked = scratch / "unpacked"
        _run(("dpkg-deb", "--extract", str(package), str(unpacked)), scratch)
        for binary in BINARIES:
            (unpacked / "usr" / "bin" / binary).rename(to / binary)
        licence = unpacked / "usr" / "share" / "doc" / PACKAGE / "copyright"
        if licence.is_file():
            licence.rename(to / "copyright")


def _download(scratch: Path) -> Path:
    """Download the package by the system's lists, or else by new ones of our own."""
    own = (
        *("-o", f"Dir::State::lists={scratch / 'lists'}"),
        *("-o", f"Dir::Cache={scratch / 'cache'}"),
        # Root's apt would step down to a user who cannot enter this folder.
        *("-o", f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}"),
    )
    try:
        _run(("apt-get", "download", "-qq", *own[-2:], PACKAGE), scratch)
    except CacheError:
        _run(("apt-get", "update", "-qq", *own), scratch)
        _run(("apt-get", "download", "-qq", *own, PACKAGE), scratch)
    found = next(scratch.glob(f"{PACKAGE}_*.deb"), None)
    if found is None:
        raise CacheError("prometheus could not be installed: apt-get downloaded no package")
    return found


def _run(command: Sequence[str], folder: Path) -> None:
    step = " ".join(part for part in command[:2] if not part.startswith("-"))
    ended = programs.run(command, _STEP_S, folder=folder)
    if ended.code is None:
        raise CacheError(
            f"prometheus could not be installed: {step} did not end within {_STEP_S:g} s"
        )
    if ended.code != 0:
        lines = [line.strip() for line in (ended.err or ended.out).splitlines() if line.strip()]
        raise CacheError(
            f"prometheus could not be installed, {step} failed: {' | '.join(lines[-3:])}; "
            "connect this machine to the network, or install prometheus and promtool yourself"
        )


@cache
def _version(binary: Path) -> str:
    done = subprocess.run(
        (str(binary), "--version"), capture_output=True, text=True, check=False, errors="replace"
    )
    told = re.search(r"version (\d+(?:\.\d+)+)", done.stdout + done.stderr)
    return f"Prometheus {told.group(1)}" if told else "Prometheus"

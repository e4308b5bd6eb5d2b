"""Packages of Debian and Ubuntu: installed where the user is root, else unpacked."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from lossmeter.errors import CacheError, UnavailableError
from lossmeter.world import programs
from lossmeter.world.install.progress import amount, bytes_below, told
from lossmeter.world.isolation import download_environment
from lossmeter.world.scratch import scratch_folder

_STEP_S = 600.0
# 'URL' FILE BYTES HASH
_LISTED = re.compile(r"^'\S+' \S+ (\d+)", re.MULTILINE)


def can_install() -> bool:
    """Return whether packages can be installed by this user on this machine."""
    return os.geteuid() == 0 and has_packages()


def has_packages() -> bool:
    """Return whether this is a system of Debian's packages."""
    return shutil.which("apt-get") is not None


def install(packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install packages with what they need, and nothing that is merely recommended.

    Args:
        packages: their names.
        say: hears how far the download has come.

    Raises:
        UnavailableError: they could not be installed; the message ends with apt's last lines.
    """
    environment = download_environment() | {"DEBIAN_FRONTEND": "noninteractive"}

    def apt(step: str, *options: str) -> str:
        command = ("apt-get", step, "-qq", *options)
        ended = programs.run(command, _STEP_S, environment=environment, name=f"apt-get {step}")
        return ended.checked(UnavailableError, f"{', '.join(packages)} could not be installed")

    wanted = ("--yes", "--no-install-recommends", *packages)
    apt("update")
    total = _total(apt("install", "--print-uris", *wanted))
    with scratch_folder("packages") as downloads:
        # Root's apt would step down to a user who cannot enter this folder.
        own = ("-o", f"Dir::Cache::archives={downloads}", "-o", "APT::Sandbox::User=root")
        with told(lambda took_s: amount(bytes_below(downloads), total, took_s), say):
            apt("install", "--download-only", *own, *wanted)
        apt("install", *own, *wanted)


def _total(listed: str) -> int:
    """Return the bytes of what apt says it would download."""
    return sum(map(int, _LISTED.findall(listed)))


def can_unpack() -> bool:
    """Return whether packages can be had without installing them, which needs no root."""
    return all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))


def system() -> str:
    """Return a name for the system whose packages they are, e.g. ``debian-12-x86_64``."""
    try:
        reported = platform.freedesktop_os_release()
    except OSError:
        reported = {}
    name = f"{reported.get('ID', 'linux')}-{reported.get('VERSION_ID', 'unknown')}"
    return re.sub(r"[^A-Za-z0-9._+-]", "-", f"{name}-{platform.machine()}")


def unpack(what: str, packages: Sequence[str], to: Path, say: Callable[[str], None]) -> None:
    """Download packages and unpack them into a folder; apt verifies what it downloads.

    Args:
        what: they are for, as messages call it.
        packages: their names.
        to: the folder.
        say: hears how far the download has come.

    Raises:
        CacheError: one could not be downloaded or unpacked.
    """
    with tempfile.TemporaryDirectory(dir=to) as name:
        scratch = Path(name)
        _download(what, packages, scratch, say)
        for package in packages:
            found = next(scratch.glob(f"{package}_*.deb"), None)
            if found is None:
                raise CacheError(f"{what} could not be installed: apt-get brought no {package}")
            _run(what, ("dpkg-deb", "--extract", str(found), str(to)), scratch)


def _download(
    what: str, packages: Sequence[str], scratch: Path, say: Callable[[str], None]
) -> None:
    """Download packages by the system's lists, or else by new ones of our own."""
    own = (
        *("-o", f"Dir::State::lists={scratch / 'lists'}"),
        *("-o", f"Dir::Cache={scratch / 'cache'}"),
        # Root's apt would step down to a user who cannot enter this folder.
        *("-o", f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}"),
    )

    def download(*options: str) -> None:
        wanted = ("apt-get", "download", "-qq", *options, *packages)
        total = _total(_run(what, (*wanted, "--print-uris"), scratch))

        def come(took_s: float) -> str:
            return f"{what}: {amount(bytes_below(scratch, '*.deb'), total, took_s)}"

        with told(come, say):
            _run(what, wanted, scratch)

    try:
        download(*own[-2:])
    except CacheError:
        _run(what, ("apt-get", "update", "-qq", *own), scratch)
        download(*own)


def _run(what: str, command: Sequence[str], folder: Path) -> str:
    step = " ".join(part for part in command[:2] if not part.startswith("-"))
    return programs.run(
        command, _STEP_S, environment=download_environment(), folder=folder, name=step
    ).checked(
        CacheError,
        f"{what} could not be installed",
        f"connect this machine to the network, or install {what} yourself",
    )

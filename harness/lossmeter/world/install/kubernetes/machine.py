"""What the machine must offer, what Debian brings, and the commands that are run on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.world import programs
from lossmeter.world.install import debian
from lossmeter.world.install.kubernetes.words import say

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "mount": "mount",
}
PLUGINS = ("ptp", "host-local", "loopback")
PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
PLUGIN_PACKAGE = "containernetworking-plugins"
CGROUPS = Path("/sys/fs/cgroup")
_NEEDED_GROUPS = ("memory", "cpu", "pids")
COMMAND_S = 120.0


def check() -> None:
    """Check that a cluster can be had here at all.

    Raises:
        UnavailableError: it cannot; the message says why.
    """
    if not sys.platform.startswith("linux"):
        raise UnavailableError(
            f"a kubelet needs Linux, and this is {sys.platform}; use a cluster of your own"
        )
    if os.geteuid() != 0:
        raise UnavailableError(
            "only root can start a kubelet: run this as root, or use a cluster of your own"
        )
    missing = [name for name in _NEEDED_GROUPS if not _has_group(name)]
    if missing or not os.access(CGROUPS, os.W_OK):
        what = f"the control groups {', '.join(missing)}" if missing else f"{CGROUPS} for writing"
        raise UnavailableError(
            f"this machine does not offer {what}, without which no pod can be limited; "
            "in a container, give it --privileged; or use a cluster of your own"
        )


def bring_packages() -> Path:
    """Install what Debian brings unless it is there; return the folder of network plugins.

    Raises:
        UnavailableError: something is missing and cannot be installed.
    """
    missing = _missing()
    if missing:
        if not debian.has_packages():
            raise UnavailableError(
                f"this machine lacks {', '.join(missing)} and is neither Debian nor Ubuntu; "
                "install them as their makers describe"
            )
        say(f"installing {', '.join(missing)}")
        debian.install(missing, say)
    plugins = _plugins()
    if plugins is None or _missing():
        raise UnavailableError(f"{', '.join(_missing())} cannot be found though just installed")
    return plugins


def run(*argv: str) -> str:
    """Run a command to its end and return its output.

    Raises:
        UnavailableError: it failed; the message ends with its last lines.
    """
    try:
        ended = programs.run(argv, COMMAND_S, name=" ".join(argv[:4]))
    except OSError as error:
        raise UnavailableError(f"{argv[0]} cannot be run: {error.strerror}") from None
    return ended.checked(UnavailableError) + ended.err


def attempt(*argv: str) -> tuple[int, str]:
    """Run a command to its end and return its exit code and output, whatever they are."""
    try:
        ended = programs.run(argv, COMMAND_S)
    except OSError as error:
        return 127, f"it cannot be run: {error.strerror}"
    if ended.code is None:
        return 124, f"it did not end within {COMMAND_S:g} s"
    return ended.code, ended.out + ended.err


def groups() -> Sequence[Path]:
    """Return the roots of all hierarchies of control groups that pods are put into."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return sorted(folder for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").exists())


def _has_group(name: str) -> bool:
    together = CGROUPS / "cgroup.controllers"
    if together.exists():
        return name in together.read_text(encoding="ascii").split()
    return (CGROUPS / name / "cgroup.procs").exists()


def _missing() -> list[str]:
    """Return Debian's names of the packages that are not there."""
    missing = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    return sorted(missing | ({PLUGIN_PACKAGE} if _plugins() is None else set()))


def _plugins() -> Path | None:
    whole = (f for f in PLUGIN_FOLDERS if all((f / name).is_file() for name in PLUGINS))
    return next(whole, None)

"""Packages of Debian and Ubuntu, installed where the user is root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from harness import programs
from harness.errors import UnavailableError
from harness.ownership import inherited_mark

_STEP_S = 600.0
_LINES = 20


def can_install() -> bool:
    """Return whether packages can be installed by this user on this machine."""
    return os.geteuid() == 0 and has_packages()


def has_packages() -> bool:
    """Return whether this is a system of Debian's packages."""
    return shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> None:
    """Install packages with what they need, and nothing that is merely recommended.

    Raises:
        UnavailableError: they could not be installed; the message ends with apt's last lines.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **inherited_mark()}
    for command in (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages),
    ):
        step = " ".join(command[:2])
        ended = programs.run(command, _STEP_S, environment=environment)
        if ended.code is None:
            raise UnavailableError(
                f"{', '.join(packages)} could not be installed: {step} did not end within "
                f"{_STEP_S:g} s"
            )
        if ended.code != 0:
            raise UnavailableError(
                f"{', '.join(packages)} could not be installed, {step} failed with exit code "
                f"{ended.code}:\n{ended.tail(_LINES)}"
            )

"""Machines for tests: network namespaces of this one, each behind a cable of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HERE = "10.213.1.1"


@dataclass(frozen=True)
class Machine:
    """One namespace; what runs in it reaches this machine at HERE and nothing else."""

    name: str

    def command(self, *argv: str) -> tuple[str, ...]:
        """Return the command that runs another one inside."""
        return ("ip", "netns", "exec", self.name, *argv)


def unavailable() -> str | None:
    """Return why this machine has none, or None."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    name = f"lossmeter-{os.getpid()}-0"
    if _ip("netns", "add", name, check=False).returncode:
        return "this machine makes no network namespaces"
    _ip("netns", "delete", name)
    return None


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Make so many, joined to this one; nothing is left of them afterwards."""
    made: list[Machine] = []
    try:
        for number in range(1, count + 1):
            made.append(Machine(f"lossmeter-{os.getpid()}-{number}"))
            _join(made[-1].name, number)
        yield made
    finally:
        for number, machine in enumerate(made, 1):
            # The kernel takes a namespace apart some time after the command has returned; the
            # next test that makes this cable must not meet the old one.
            _ip("link", "delete", _cable(number), check=False)
            _ip("netns", "delete", machine.name, check=False)


def _cable(number: int) -> str:
    # Names of interfaces are short; the process's number keeps two tests apart.
    return f"lm{os.getpid()}-{number}"


def _join(name: str, number: int) -> None:
    cable, here, there = _cable(number), f"10.213.{number}.1", f"10.213.{number}.2"
    _ip("netns", "add", name)
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("address", "add", f"{here}/30", "dev", cable)
    _ip("link", "set", cable, "up")
    _ip("-n", name, "address", "add", f"{there}/30", "dev", "eth0")
    _ip("-n", name, "link", "set", "eth0", "up")
    _ip("-n", name, "route", "add", "default", "via", here)


def _ip(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(("ip", *argv), capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(argv)}: {done.stderr}")
    return done

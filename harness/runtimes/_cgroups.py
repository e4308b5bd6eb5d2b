"""A memory control group for a process of the local runtime, of version 1 or 2.

The group outlives the process, so the kernel's count of its OOM kills can be read afterwards.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from harness.errors import FaultError
from harness.ownership import Owner
from harness.site import Memory

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_PREFIX = "lossmeter~"
_NO_LIMIT = 2**60
_EMPTY_WITHIN_S = 5.0


class MemoryGroup:
    """One control group, made at once and removed by ``close``."""

    def __init__(self, owner: Owner) -> None:
        root = _root()
        if root is None:
            raise FaultError("this user may not make memory control groups on this machine")
        self._v1 = root == _V1
        self._folder = root / f"{_PREFIX}{owner.folder_name}"
        self._folder.mkdir(exist_ok=True)

    def add(self, pid: int) -> None:
        """Put a process in; what it has used so far stays with its old group."""
        (self._folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def limit(self, limit_bytes: int | None) -> None:
        """Set the limit of memory and swap together, or lift it.

        Raises:
            FaultError: the kernel does not take it.
        """
        value = "-1" if limit_bytes is None else str(limit_bytes)
        names = ("memory.memsw.limit_in_bytes", "memory.limit_in_bytes")
        try:
            if not self._v1:
                self._write("memory.swap.max", "max" if limit_bytes is None else "0")
                self._write("memory.max", "max" if limit_bytes is None else value)
                return
            # The one may never be below the other, so the order depends on the direction.
            present = self._number("memory.limit_in_bytes") or 0
            lower = limit_bytes is not None and limit_bytes < present
            for name in reversed(names) if lower else names:
                self._write(name, value)
        except OSError as error:
            raise FaultError(
                f"the kernel did not take a memory limit of {value} bytes: {error.strerror}"
            ) from None

    def read(self) -> Memory:
        """Return limit, working set and OOM kills."""
        limit = self._number("memory.limit_in_bytes" if self._v1 else "memory.max")
        usage = self._number("memory.usage_in_bytes" if self._v1 else "memory.current")
        used = working_set(self._folder, usage or 0)
        kills = self._count("memory.oom_control" if self._v1 else "memory.events", "oom_kill")
        return Memory(None if limit is None or limit > _NO_LIMIT else limit, used, kills)

    def close(self) -> None:
        """Remove the group."""
        remove(self._folder)

    def _write(self, name: str, value: str) -> None:
        path = self._folder / name
        # A kernel without swap accounting has no such file, and no swap to account for.
        if path.exists() or "swap" not in name:
            path.write_text(value, encoding="ascii")

    def _number(self, name: str) -> int | None:
        text = (self._folder / name).read_text(encoding="ascii").strip()
        return int(text) if text.isdigit() else None

    def _count(self, name: str, key: str) -> int:
        for line in (self._folder / name).read_text(encoding="ascii").splitlines():
            word, _, value = line.partition(" ")
            if word == key:
                return int(value)
        return 0


def working_set(group: Path, usage_bytes: int) -> int:
    """Return what a group uses without the cached files that nobody has read lately.

    The kernel gives those up before it kills, and who read a file first has it on its account:
    of two containers of one image only the first. The kubelet evicts by the same number
    (``setMemoryStats`` in cAdvisor's ``container/libcontainer/handler.go``).
    """
    try:
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        # It ends with its container.
        return usage_bytes
    told = dict(line.split(" ", 1) for line in lines)
    cached = int(told.get("total_inactive_file", told.get("inactive_file", "0")))
    return max(0, usage_bytes - cached)


def available() -> bool:
    """Return whether this user may make memory control groups."""
    return _root() is not None


def remove(folder: Path) -> None:
    """Remove a group as soon as its last process has gone."""
    deadline = time.monotonic() + _EMPTY_WITHIN_S
    while folder.exists() and time.monotonic() < deadline:
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.01)


def remove_dead() -> list[str]:
    """Remove the groups of harnesses that no longer run; return a line for each."""
    removed = []
    for root in (_V1, _V2):
        for folder in sorted(root.glob(f"{_PREFIX}*")):
            owner = Owner.of_folder(folder.name.removeprefix(_PREFIX))
            if owner is not None and not owner.alive():
                remove(folder)
                removed.append(f"control group {folder.name}")
    return removed


@cache
def _root() -> Path | None:
    """Return where groups can be made, or None; tried out, for rights are not the whole of it."""
    for root, file in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
        trial = root / f"{_PREFIX}trial-{os.getpid()}"
        with suppress(OSError):
            trial.mkdir()
            usable = os.access(trial / file, os.W_OK)
            trial.rmdir()
            if usable:
                return root
    return None

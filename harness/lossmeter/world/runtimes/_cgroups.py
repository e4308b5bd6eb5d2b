"""Control groups, of version 1 or 2: which processes are in one, and what memory they may use.

A group outlives its processes, so the kernel's count of its OOM kills can be read afterwards;
and none of them leaves it by a new session, another name or an empty environment.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from lossmeter.errors import FaultError, ServiceError
from lossmeter.record.files import files_below
from lossmeter.world.ownership import Owner
from lossmeter.world.site import Memory

OOM_COUNT = Path("/proc/vmstat")
_CGROUPS = Path("/sys/fs/cgroup")
_MEMORY = _CGROUPS / "memory"
# Where a group can hold processes together, the ones that can also bound their memory first.
_ROOTS = (_MEMORY, _CGROUPS, *(_CGROUPS / name for name in ("unified", "pids", "freezer")))
_PREFIX = "lossmeter~"
_NO_LIMIT = 2**60
_EMPTY_WITHIN_S = 5.0
_PROCESSES = "cgroup.procs"
_LIMIT, _USED = "memory.limit_in_bytes", "memory.usage_in_bytes"
_LIMIT_V2, _USED_V2 = "memory.max", "memory.current"
_WITH_SWAP, _SWAP_V2 = "memory.memsw.limit_in_bytes", "memory.swap.max"


class Group:
    """The control group of one owner, made unless it is there; removed by ``close``.

    Raises:
        FaultError: this user may not make control groups.
    """

    def __init__(self, owner: Owner) -> None:
        root = _root()
        if root is None:
            raise FaultError("this user may not make control groups on this machine")
        self._folder = root / f"{_PREFIX}{owner.folder_name}"
        self._folder.mkdir(exist_ok=True)

    def add(self, pid: int) -> None:
        """Put a process in; what it has used so far stays with its old group."""
        # One that has ended already needs no group.
        with suppress(ProcessLookupError):
            (self._folder / _PROCESSES).write_text(str(pid), encoding="ascii")

    def members(self) -> set[int]:
        """Return the processes in it."""
        return members(self._folder)

    def stop(self) -> None:
        """Send SIGSTOP to all in it, at once: one that goes on by forking has no time to."""
        for pid in self.members():
            with suppress(OSError):
                handle = os.pidfd_open(pid)
                try:
                    # While the handle is held its id is no other's.
                    if pid in self.members():
                        signal.pidfd_send_signal(handle, signal.SIGSTOP)
                finally:
                    os.close(handle)

    def limit(self, limit_bytes: int | None) -> None:
        """Set the limit of memory and swap together, or lift it; raises FaultError."""
        limit(self._folder, limit_bytes)

    def read(self) -> Memory:
        """Return limit, working set and the OOM kills in this group."""
        name = "memory.oom_control" if (self._folder / _LIMIT).exists() else "memory.events"
        return read(self._folder, _count(self._folder / name, "oom_kill"))

    def close(self) -> None:
        """Remove it."""
        remove(self._folder)


def members(folder: Path) -> set[int]:
    """Return the processes in a group and in the groups below it; none when it is gone."""
    found: set[int] = set()
    for file in files_below(folder, _PROCESSES):
        with suppress(OSError):
            found |= {int(line) for line in file.read_text(encoding="ascii").split()}
    # The kernel lists those of an outer pid namespace as 0.
    return found - {0}


def read(folder: Path, oom_kills_so_far: int) -> Memory:
    """Return limit and working set of a group, beside a count of OOM kills."""
    first = (folder / _LIMIT).exists()
    most = _number(folder / (_LIMIT if first else _LIMIT_V2))
    used = working_set(folder, _number(folder / (_USED if first else _USED_V2)) or 0)
    return Memory(None if most is None or most > _NO_LIMIT else most, used, oom_kills_so_far)


def limit(folder: Path, limit_bytes: int | None) -> None:
    """Set the limit of memory and swap together, or lift it.

    Raises:
        FaultError: the kernel does not take it.
    """
    try:
        if not (folder / _LIMIT).exists():
            # A kernel without swap accounting has no such file, and no swap to account for.
            if (folder / _SWAP_V2).exists():
                _write(folder / _SWAP_V2, "max" if limit_bytes is None else "0")
            _write(folder / _LIMIT_V2, "max" if limit_bytes is None else str(limit_bytes))
            return
        names = [name for name in (_WITH_SWAP, _LIMIT) if (folder / name).exists()]
        # The one may never be below the other, so the order depends on the direction.
        lower = limit_bytes is not None and limit_bytes < (_number(folder / _LIMIT) or 0)
        for name in reversed(names) if lower else names:
            _write(folder / name, "-1" if limit_bytes is None else str(limit_bytes))
    except OSError as error:
        raise FaultError(
            f"the kernel did not take a memory limit of {limit_bytes or 'no'} bytes: "
            f"{error.strerror}"
        ) from None


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
    figures = dict(line.split(" ", 1) for line in lines)
    cached = int(figures.get("total_inactive_file", figures.get("inactive_file", "0")))
    return max(0, usage_bytes - cached)


def memory_folder(pid: int) -> Path:
    """Return the memory control group of a process.

    Raises:
        ServiceError: it cannot be seen from here.
    """
    try:
        lines = os.fsdecode(Path(f"/proc/{pid}/cgroup").read_bytes()).splitlines()
    except OSError:
        raise ServiceError(f"the control group of process {pid} cannot be seen from here") from None
    groups = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    for controllers, path in groups.items():
        if "memory" in controllers.split(","):
            return _MEMORY / path.lstrip("/")
    return _CGROUPS / groups.get("", "/").lstrip("/")


def oom_kills() -> int:
    """Return the kernel's count of OOM kills since it booted."""
    return _count(OOM_COUNT, "oom_kill")


def available() -> bool:
    """Return whether this user may make control groups that bound memory."""
    root = _root()
    return root is not None and _bounds_memory(root)


def containing() -> bool:
    """Return whether this user may make control groups at all."""
    return _root() is not None


def remove(folder: Path) -> None:
    """Remove a group with those below it as soon as its last process has gone."""
    deadline = time.monotonic() + _EMPTY_WITHIN_S
    while folder.exists() and time.monotonic() < deadline:
        with suppress(OSError):
            for inner in sorted(folder.rglob("*/"), reverse=True):
                inner.rmdir()
            folder.rmdir()
            return
        time.sleep(0.01)


def dead_groups() -> dict[Owner, Path]:
    """Return the groups of harnesses that no longer run."""
    folders = [each for root in _ROOTS for each in sorted(root.glob(f"{_PREFIX}*"))]
    owners = {Owner.of_folder(each.name.removeprefix(_PREFIX)): each for each in folders}
    return {owner: folder for owner, folder in owners.items() if owner and not owner.alive()}


@cache
def _root() -> Path | None:
    """Return where groups can be made, or None; tried out, for rights are not the whole of it."""
    usable = [root for root in _ROOTS if (root / _PROCESSES).exists() and _can_make_in(root)]
    return next((root for root in usable if _bounds_memory(root)), next(iter(usable), None))


def _can_make_in(root: Path) -> bool:
    trial = root / f"{_PREFIX}trial-{os.getpid()}"
    with suppress(OSError):
        trial.mkdir()
        try:
            return os.access(trial / _PROCESSES, os.W_OK)
        finally:
            trial.rmdir()
    return False


@cache
def _bounds_memory(root: Path) -> bool:
    if root == _MEMORY:
        return True
    with suppress(OSError):
        return "memory" in (root / "cgroup.subtree_control").read_text(encoding="ascii").split()
    return False


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return None


def _count(path: Path, key: str) -> int:
    with suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    return 0


def _write(path: Path, value: str) -> None:
    path.write_text(value, encoding="ascii")

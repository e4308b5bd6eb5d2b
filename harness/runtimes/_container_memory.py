"""The memory control group of a container on this machine, of version 1 or 2."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from harness.errors import FaultError
from harness.runtimes._cgroups import working_set
from harness.site import Memory

OOM_COUNT = Path("/proc/vmstat")
_PLAIN = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_TOGETHER = ("memory.max", "memory.current")
_WITH_SWAP = "memory.memsw.limit_in_bytes"


def read(folder: Path) -> Memory:
    """Return limit and working set of a group, and the kernel's OOM kills since it booted."""
    limit_name, used_name = _PLAIN if (folder / _PLAIN[0]).exists() else _TOGETHER
    used = working_set(folder, _number(folder / used_name) or 0)
    return Memory(_number(folder / limit_name), used, oom_kills())


def limit(folder: Path, limit_bytes: int) -> None:
    """Set the limit of memory and swap together.

    Raises:
        FaultError: the kernel does not take it.
    """
    try:
        if not (folder / _PLAIN[0]).exists():
            with suppress(FileNotFoundError):
                _write(folder / "memory.swap.max", "0")
            _write(folder / _TOGETHER[0], str(limit_bytes))
            return
        names = [name for name in (_WITH_SWAP, _PLAIN[0]) if (folder / name).exists()]
        # The one may never be below the other, so the order depends on the direction.
        lower = limit_bytes < (_number(folder / _PLAIN[0]) or 0)
        for name in reversed(names) if lower else names:
            _write(folder / name, str(limit_bytes))
    except OSError as error:
        raise FaultError(
            f"the kernel did not take a memory limit of {limit_bytes} bytes: {error.strerror}"
        ) from None


def oom_kills() -> int:
    """Return the kernel's count of OOM kills since it booted."""
    for line in OOM_COUNT.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return None


def _write(path: Path, value: str) -> None:
    if not path.exists():
        raise FileNotFoundError(path)
    path.write_text(value, encoding="ascii")

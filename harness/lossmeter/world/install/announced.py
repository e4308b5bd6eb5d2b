"""What an installer says of its downloads: pip and uv name the size of each, npm each that came.

As a filter it shows how far uv has come, ``uv pip install ... 2>&1 | python -m
lossmeter.world.install.announced WHAT``; so the Makefile does, before anything is installed.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

from lossmeter.world.install.progress import amount, counted, told

# uv counts in 1,024 and says KiB; pip counts in 1,000 and says kB.
_UNITS = {"B": 1, "bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BEGUN = re.compile(r"\s*Downloading (\S+) \(([\d.]+) ?(\w+)\)")
_OVER = re.compile(r"\s*Downloaded (\S+)")
_TARBALL = re.compile(r"npm http fetch GET 200 \S+\.tgz ")
# The names that npm has for what this machine is.
_PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}


class Sizes:
    """Bytes, by the sizes that uv and pip announce. uv does not name those below 1 MiB.

    Args:
        got: returns the bytes that have come; without it those of files that are whole count.
    """

    def __init__(self, got: Callable[[], int] | None = None) -> None:
        self._sizes: dict[str, int] = {}
        self._whole: set[str] = set()
        self._got = got

    def hear(self, line: str) -> None:
        """Take one line of what it wrote."""
        if (begun := _BEGUN.match(line)) and (unit := _UNITS.get(begun[3])):
            self._sizes[begun[1]] = round(float(begun[2]) * unit)
        elif over := _OVER.match(line):
            self._whole.add(over[1])

    def line(self, took_s: float) -> str:
        """Return e.g. ``12.3 of 54.1 MB, 9 s left``."""
        total = sum(self._sizes.values())
        whole = sum(size for name, size in self._sizes.items() if name in self._whole)
        got = min(self._got(), total or sys.maxsize) if self._got else whole
        return amount(got, total, took_s)


class Packages:
    """Packages, by the fetches that npm logs as ``http``.

    Args:
        lock: package-lock.json, which says how many there are.
        got: returns the bytes that have been written.
    """

    def __init__(self, lock: Path, got: Callable[[], int]) -> None:
        self._total, self._got, self._come = _locked(lock), got, 0

    def hear(self, line: str) -> None:
        """Take one line of what it wrote."""
        self._come += bool(_TARBALL.match(line))

    def line(self, took_s: float) -> str:
        """Return e.g. ``12 of 34 packages, 3.1 MB, 4 s left``."""
        return counted(self._come, self._total, "packages", self._got(), took_s)


def _locked(lock: Path) -> int:
    """Return how many packages a lock has for this machine; 0 where it is none of npm's."""
    try:
        packages = json.loads(lock.read_text(encoding="utf-8"))["packages"].values()
        return sum("integrity" in each and _is_for_here(each) for each in packages)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0


def _is_for_here(package: dict[str, list[str]]) -> bool:
    here = _PROCESSORS.get(platform.machine(), platform.machine())
    return "linux" in package.get("os", ["linux"]) and here in package.get("cpu", [here])


def _main(what: str) -> None:
    """Pass on what uv writes but its lines on single packages; say how far it has come."""
    sizes = Sizes()

    def say(line: str) -> None:
        sys.stderr.write(f"{what}: {line}\n")

    with told(sizes.line, say):
        for line in sys.stdin:
            sizes.hear(line)
            if not (line.startswith(" + ") or _BEGUN.match(line) or _OVER.match(line)):
                sys.stderr.write(line)


if __name__ == "__main__":
    _main(sys.argv[1])

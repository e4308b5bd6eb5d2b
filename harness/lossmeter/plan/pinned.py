"""Which versions a target's own environment pins, of what its application asks for itself.

What these bring with them stands in the same locks, and is not repeated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from lossmeter.errors import UsageError
from lossmeter.plan.environment import Environment
from lossmeter.plan.tables import read_text

_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PYTHON = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
_GO = re.compile(r"^(?:require)?\s+([^\s()]+/[^\s()]+)\s+v(\S+)$", re.MULTILINE)


def pinned(environment: Environment | None) -> dict[str, str]:
    """Return versions by the names of packages, in the order of their names.

    Empty where a target has no environment of its own.

    Raises:
        UsageError: a lock cannot be read, or is none.
    """
    found: dict[str, str] = {}
    for kind, lock in environment.files() if environment else ():
        found |= dict(_READ[kind](lock))
    return dict(sorted(found.items()))


def _python(lock: Path) -> Iterator[tuple[str, str]]:
    """Yield what the requirements beside a lock name; all of the lock where there are none."""
    locked = {_plain(name): (name, value) for name, value in _PYTHON.findall(read_text(lock))}
    asked = lock.with_suffix(".in")
    if not asked.is_file():
        yield from locked.values()
        return
    for line in read_text(asked).splitlines():
        if (named := _NAME.match(line)) and (own := locked.get(_plain(named[1]))):
            yield own


def _node(lock: Path) -> Iterator[tuple[str, str]]:
    try:
        packages = json.loads(read_text(lock))["packages"]
        asked = packages[""].get("dependencies", {})
        yield from ((name, packages[f"node_modules/{name}"]["version"]) for name in asked)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{lock} is not what npm locks packages with") from None


def _go(lock: Path) -> Iterator[tuple[str, str]]:
    """Yield what the module requires itself; the others are marked as indirect."""
    for name, value in _GO.findall(read_text(lock)):
        yield name.removeprefix("github.com/"), value


def _plain(name: str) -> str:
    """Return a name as the index of Python packages compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


_READ = {"python": _python, "node": _node, "go": _go}

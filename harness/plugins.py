"""Parts that are registered by existing: one file each, found by looking."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from harness.errors import UsageError


def names_in(package: ModuleType) -> list[str]:
    """Return the names of a package's public modules, with ``-`` for ``_``."""
    found = pkgutil.iter_modules(package.__path__)
    return sorted(m.name.replace("_", "-") for m in found if not m.name.startswith("_"))


def load(package: ModuleType, name: str, kind: str) -> ModuleType:
    """Import one module of a package by its public name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    known = names_in(package)
    if name not in known:
        raise UsageError(unknown(kind, name, known))
    return importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}")


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that does not exist."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(known)
    return f"{kind} {name!r} does not exist; {hint}"

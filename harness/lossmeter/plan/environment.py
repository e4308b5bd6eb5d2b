"""The environment of a dispatcher's own: locks that pin what it needs, each part by its hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import model_validator

from lossmeter.plan.tables import Table

# What stands beside a lock and is needed with it.
_BESIDE = {"node": "package.json"}
_NAMES = {"node": "package-lock.json", "go": "go.mod"}


class Environment(Table):
    """What the processes and the ingress of a target run in, made once and kept in the cache.

    ``python`` is a file of requirements with hashes; ``{python}`` is then the interpreter of an
    environment with these packages. ``node`` is a ``package-lock.json``, with ``package.json``
    and the application beside it; ``{node}`` is then Node, and ``{app}`` a folder with a copy
    of the application and its packages. ``go`` is a ``go.mod``, with ``go.sum`` and the
    sources beside it; ``{program}`` is then what they were built into. Paths are relative to
    the target file, and nothing is written beside them.
    """

    python: Path | None = None
    node: Path | None = None
    go: Path | None = None

    @model_validator(mode="after")
    def _there(self) -> Self:
        if not dict(self.files()):
            raise ValueError(f"name at least one of {', '.join(type(self).model_fields)}")
        for kind, file in self.files():
            name = _NAMES.get(kind, file.name)
            if file.name != name:
                raise ValueError(f"{kind} = {file.name!r} is not a {name}")
            beside = file.with_name(_BESIDE.get(kind, file.name))
            for each in (file, beside):
                if not each.is_file():
                    raise ValueError(f"there is no file {each}")
        return self

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield each kind that is asked for with its lock."""
        for kind in type(self).model_fields:
            if (file := getattr(self, kind)) is not None:
                yield kind, file

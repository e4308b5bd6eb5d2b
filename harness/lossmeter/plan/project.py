"""The project that a command works for: where its targets, experiments, budgets and runs are.

``lossmeter.toml``, or ``[tool.lossmeter]`` in ``pyproject.toml``, of the working folder or
the nearest above it says so; what it does not say, and all where there is none, is found
beside it::

    targets = "targets"          # your target files; others in that folder are left alone
    experiments = "experiments"  # your experiment files, likewise
    budgets = "budgets.toml"     # or experiments/budgets.toml, if that is there instead
    runs = "results/runs"        # what runs leave; tables and indexes go beside this folder

What is shipped is always there too, and gives way to files of the same name in the project.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmeter.errors import UsageError
from lossmeter.plan.tables import first_problem, read_tables, read_text

FILE = "lossmeter.toml"
PYPROJECT = "pyproject.toml"
_TOOL = re.compile(r"^\s*\[\s*tool\s*\.\s*[\"']?lossmeter\b", re.MULTILINE)

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]
# Beside the sources in a checkout, inside the package in an installed wheel.
SHIPPED = _PACKAGE / "shipped" if (_PACKAGE / "shipped").is_dir() else _CHECKOUT

Place = Annotated[str, Field(min_length=1)]


class _Places(BaseModel):
    """What a project file may say; each a path, from the folder that holds the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    targets: Place = "targets"
    experiments: Place = "experiments"
    budgets: Place | None = None
    runs: Place = "results/runs"


@dataclass(frozen=True, slots=True)
class Project:
    """One project.

    Attributes:
        root: the folder of the project file, or else the working folder.
        targets, experiments: folders of its own files; need not exist.
        budgets: the file of its own budgets; need not exist.
        runs: the folder that gets the run folders; tables and indexes go beside it.
    """

    root: Path
    targets: Path
    experiments: Path
    budgets: Path
    runs: Path

    @classmethod
    def here(cls) -> Project:
        """Return the project of the working folder.

        Raises:
            UsageError: its file is wrong, or the working folder is gone.
        """
        try:
            return cls.of(Path.cwd())
        except FileNotFoundError:
            raise UsageError("the working folder does not exist any more; cd to another") from None

    @classmethod
    def of(cls, folder: Path) -> Project:
        """Return the project that a folder belongs to; without a project file its own.

        Raises:
            UsageError: the project file is wrong.
        """
        for root in (folder, *folder.parents):
            for file, reported in _described(root):
                return cls._placed(root, _places(file, reported))
        return cls._placed(folder, _Places())

    @classmethod
    def _placed(cls, root: Path, places: _Places) -> Project:
        experiments = root / places.experiments
        budgets = places.budgets or "budgets.toml"
        if places.budgets is None and not (root / budgets).exists():
            budgets = str(experiments / "budgets.toml")
        return cls(root, root / places.targets, experiments, root / budgets, root / places.runs)

    @property
    def results(self) -> Path:
        """Return the folder of tables, indexes and JUnit files: that beside the runs."""
        return self.runs.parent


def _described(root: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what a folder's project file says, if it has one: its name and table."""
    if os.path.isfile(root / FILE):  # noqa: PTH113 - False where nobody may look
        return [(str(root / FILE), read_tables(root / FILE, "project file"))]
    path = root / PYPROJECT
    # Whatever else is in that file, and wrong with it, is no business of this project.
    if os.path.isfile(path) and _TOOL.search(_readable(path)):  # noqa: PTH113
        table = read_tables(path, "project file").get("tool", {}).get("lossmeter")
        if isinstance(table, dict):
            return [(f"{path}: [tool.lossmeter]", table)]
    return []


def _readable(path: Path) -> str:
    try:
        return read_text(path)
    except UsageError:
        return ""


def _places(file: str, reported: Mapping[str, Any]) -> _Places:
    try:
        return _Places.model_validate(reported)
    except ValidationError as error:
        known = ", ".join(_Places.model_fields)
        raise UsageError(f"{file}: {first_problem(error)}; known are {known}") from None

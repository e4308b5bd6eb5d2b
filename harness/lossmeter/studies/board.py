"""The board of frameworks: which configuration meets which experiment, and what came of each.

``targets/frameworks/board.toml`` lists both. What each framework promises stands in the
``promises.toml`` of its folder, with the sentence that promises it; the budget of a cell is
made of that. Runs are kept as ``studies.standing`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossmeter.errors import UsageError
from lossmeter.plan.budget import Budget
from lossmeter.plan.catalogue import Catalogue, Cell
from lossmeter.plan.queued import PENDING
from lossmeter.plan.tables import first_problem, read_tables
from lossmeter.plan.target import Target
from lossmeter.plugins import unknown
from lossmeter.studies.standing import CONTROL, LOSSY, Entry, Plan, digests_of

FOLDER = "frameworks"
BOARD, PROMISES = "board.toml", "promises.toml"
PREFIX = "board-"
# The runs that it keeps, and its pages.
STATE, PAGE, HTML = "board.json", "README.md", "board.html"
# Not to be broken by what is kept for later: how many events are sent at all.
_ANY = 1_000_000


class Kept(StrEnum):
    """What is promised of a message that was handed over."""

    AT_LEAST_ONCE = "at least once"
    AT_MOST_ONCE = "at most once"
    NOTHING = "nothing"


class Promise(BaseModel):
    """What a configuration promises, in the words of its documentation.

    Attributes:
        kept: what these words come to.
        says: the sentence; ``source``: where it stands.
        loses: what it loses by design, and why; empty for nothing that is known.
        mended_by: the configuration of the board that mends it; empty where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kept: Kept
    says: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    loses: str = ""
    mended_by: str = ""

    def budget(self, experiment: str, target: Target) -> Budget:
        """Return what a run may cost, so that a promise that is broken is over budget.

        Of what a target does not show nothing is bounded: what is held there counts as lost.
        """
        if experiment == CONTROL:
            return Budget(max_lost=0, max_duplicated=0, max_unresolved=0)
        shown = PENDING in (target.queue or {})
        kept = dict.fromkeys(("max_pending", "max_stranded"), _ANY) if shown else {}
        if target.persisted.dead_letter_file:
            kept["max_dead_lettered"] = _ANY
        if experiment == LOSSY:
            return Budget(max_duplicated=0, **kept)
        if self.kept is Kept.AT_LEAST_ONCE:
            # What waits for ever for an owner is not delivered once.
            return Budget(max_lost=0, **(kept | ({"max_stranded": 0} if shown else {})))
        if self.kept is Kept.AT_MOST_ONCE:
            return Budget(max_duplicated=0, **kept)
        return Budget(max_lost=_ANY, **kept)


class _Board(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    repeats: Annotated[int, Field(ge=1, le=100)]
    configurations: Annotated[tuple[str, ...], Field(min_length=1)]
    experiments: Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class BoardEntry(Entry):
    """One cell of the board, with what its configuration promises."""

    promise: Promise


BoardPlan = Plan[BoardEntry]


def plan_of(
    catalogue: Catalogue, targets: Sequence[str] = (), experiments: Sequence[str] = ()
) -> BoardPlan:
    """Return the board, or the part of it that is asked for.

    A configuration without the process that an experiment strikes has no cell there.

    Raises:
        UsageError: a file is missing or wrong, or the board has no such row or column.
    """
    folder = catalogue.file("targets", FOLDER)
    try:
        board = _Board.model_validate(read_tables(folder / BOARD, "board"))
    except ValidationError as error:
        raise UsageError(f"{folder / BOARD}: {first_problem(error)}") from None
    columns = {_column(name): name for name in board.experiments}
    rows = _chosen("configuration of the board", targets, board.configurations)
    chosen = _chosen("experiment of the board", experiments, list(columns))
    entries = [
        _entry(catalogue, target_file(folder, row), column, columns[column])
        for row in rows
        for column in chosen
    ]
    return Plan(board.repeats, [entry for entry in entries if _has_what_is_struck(entry.cell)])


def _has_what_is_struck(cell: Cell) -> bool:
    """Return whether a target has the processes that the faults name."""
    named = {str(each.parameters.get("process", "")) for each in cell.variant.faults} - {""}
    return named <= {process.name for process in cell.target.processes}


def _column(name: str) -> str:
    return Path(name).name.removeprefix(PREFIX)


def _chosen(kind: str, asked: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in known:
            raise UsageError(unknown(kind, name, known))
    return [name for name in known if not asked or name in asked]


def target_file(folder: Path, name: str) -> Path:
    """Return the file of a configuration, by its name.

    Raises:
        UsageError: there is none in the folders of this one, or several.
    """
    found = sorted(folder.glob(f"*/{name}.toml"))
    if len(found) != 1:
        raise UsageError(f"{folder}: {name}: there are {len(found)} files of that name")
    return found[0]


def _entry(catalogue: Catalogue, file: Path, column: str, name: str) -> BoardEntry:
    path = _experiment_file(catalogue, name)
    experiment, target = catalogue.experiment(str(path)), catalogue.target(str(file))
    promise = promise_of(file.with_name(PROMISES), target.name)
    cell = Cell(experiment, experiment.variants[0], target, promise.budget(column, target))
    return BoardEntry(column, cell, *digests_of(target.name, file, path), promise)


def _experiment_file(catalogue: Catalogue, name: str) -> Path:
    for file in (f"{name}.toml", f"{name.replace('-', '_')}.py"):
        if (path := catalogue.file("experiments", file)).is_file():
            return path
    raise UsageError(f"{BOARD}: there is no experiment {name!r} in experiments/")


def promise_of(file: Path, target: str) -> Promise:
    """Return what a configuration promises.

    Raises:
        UsageError: the file is missing, wrong, or says nothing of it.
    """
    tables = read_tables(file, "promises")
    if target not in tables:
        raise UsageError(f"{file} says nothing of {target}; a board needs what it promises")
    try:
        return Promise.model_validate(tables[target])
    except ValidationError as error:
        raise UsageError(f"{file}: {target}: {first_problem(error)}") from None

"""What was typed for ``run``, ``board`` or ``results``, and the cells that it stands for.

As plain values, so that a process of its own that makes some of the runs can be told the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from lossmeter.errors import UsageError

if TYPE_CHECKING:
    from lossmeter.model import Address
    from lossmeter.plan.catalogue import Catalogue, Cell
    from lossmeter.run.monitor.watch import Watch

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Attributes:
        named: the experiments that were asked for by name.
        cells: the runs, in the order of the table.
        broken: the experiments that cannot be loaded, each with why.
    """

    named: Sequence[str]
    cells: Sequence[Cell]
    broken: Sequence[tuple[str, str]]


class Asked(BaseModel):
    """The options of ``run`` that say what is run."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["run"] = "run"
    experiments: list[str]
    targets: list[str] = []
    variants: list[str] = []
    rate: float | None = None
    duration: float | None = None
    settings: list[str] = []
    load_processes: int | None = None
    load_listen: str | None = None
    load_pods: int | None = None
    monitor: bool = False
    monitor_factor: float | None = None
    fresh_servers: bool = False

    def wanted(self, catalogue: Catalogue, say: Say) -> Wanted:
        """Return what was asked for; a broken file costs ``all`` nothing but itself.

        Raises:
            UsageError: something that was named does not exist or is wrong.
        """
        from lossmeter.plan.asked import Numbers

        numbers = Numbers.parse(self.rate, self.duration, self.settings)
        wanted = _wanted(catalogue, self, say)
        load = _Load(self.load_processes, _listen(self.load_listen), self.load_pods)
        cells = [load.put_on(cell) for cell in numbers.put_on(wanted.cells)]
        return Wanted(wanted.named, cells, wanted.broken)

    def watch(self, cells: Sequence[Cell], catalogue: Catalogue) -> Watch | None:
        """Return what is to watch the runs; None where that was not asked.

        Raises:
            UsageError, UnavailableError: as for ``watching``.
        """
        from lossmeter.commands._monitoring import watching

        return watching(cells, catalogue, self.monitor_factor) if self.monitor else None


class AskedBoard(BaseModel):
    """The options of ``board`` that say what is run."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["board"] = "board"
    targets: list[str] = []
    experiments: list[str] = []
    fresh_servers: bool = False

    def wanted(self, catalogue: Catalogue, say: Say) -> Wanted:
        """Return the cells of the board, row by row.

        Raises:
            UsageError: something that was named does not exist or is wrong.
        """
        from lossmeter.studies.board import plan_of

        del say
        plan = plan_of(catalogue, self.targets, self.experiments)
        return Wanted(plan.columns, [entry.cell for entry in plan.entries], [])

    def watch(self, cells: Sequence[Cell], catalogue: Catalogue) -> Watch | None:
        """Return None: nobody watches a board's runs."""
        del self, cells, catalogue
        return None


class AskedResults(BaseModel):
    """The options of ``results`` that say what is run; ``experiments`` are in their order."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["results"] = "results"
    experiments: list[str]
    targets: list[str] = []
    runtime: str
    fresh_servers: bool = False

    def wanted(self, catalogue: Catalogue, say: Say) -> Wanted:
        """Return the cells of the reference tables, also those that cannot be run.

        Raises:
            UsageError, UnavailableError: as for ``planned``.
        """
        from lossmeter.commands._shared import runtime_named
        from lossmeter.studies.reference import planned

        del say
        plan = planned(catalogue, self.experiments, self.targets, runtime_named(self.runtime))
        return Wanted(self.experiments, [each.cell for each in plan], [])

    def watch(self, cells: Sequence[Cell], catalogue: Catalogue) -> Watch | None:
        """Return None: nobody watches the runs of the tables."""
        del self, cells, catalogue
        return None


AnyAsked = Asked | AskedBoard | AskedResults


def _wanted(catalogue: Catalogue, asked: Asked, say: Say) -> Wanted:
    from lossmeter.plan.catalogue import ALL, cells

    names = asked.experiments
    found: dict[str, Sequence[Cell]] = {}
    broken: list[tuple[str, str]] = []
    for name in catalogue.chosen(names):
        try:
            experiment = catalogue.experiment(name)
        except UsageError as error:
            if name in names:
                raise
            say(f"left out: {error}")
            broken.append((name, str(error)))
            continue
        if experiment.name in found:
            raise UsageError(f"two of these experiments are called {experiment.name!r}")
        found[experiment.name] = cells(catalogue, experiment, asked.targets, asked.variants)
    for sentence in catalogue.clashes():
        if any(f" {each} " in sentence for each in names + asked.targets):
            say(sentence)
    named = [] if ALL in names else list(found)
    return Wanted(named, [cell for each in found.values() for cell in each], broken)


@dataclass(frozen=True, slots=True)
class _Load:
    """Where the load comes from, as the options say."""

    processes: int | None
    listen: Address | None
    pods: int | None

    def put_on(self, cell: Cell) -> Cell:
        """Return a cell with its load sent from there.

        Raises:
            UsageError: it cannot be.
        """
        from lossmeter.plan.asked import with_load_pods, with_load_processes

        if self.pods is not None:
            return with_load_pods(cell, self.pods)
        if self.processes is None and self.listen is None:
            return cell
        processes = 1 if self.processes is None else self.processes
        return with_load_processes(cell, processes, self.listen)


def _listen(text: str | None) -> Address | None:
    from lossmeter.model import Address
    from lossmeter.world.ports import is_free

    if text is None:
        return None
    address = Address.parse(text)
    if not is_free(address.host, address.port):
        raise UsageError(
            f"--load-listen {address} cannot be listened at: it is taken, or not this machine's"
        )
    return address

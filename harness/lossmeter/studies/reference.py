"""What the reference tables consist of: every scenario on every backend, or why it cannot be.

A backend is a target that an experiment lists and that is no remedy of another. The scenarios
that one of them can be asked are asked of all, so that no cell is empty because nobody thought
of it. Remedies, targets as well as variants, are run where their experiments list them, and
without a fault, which shows what they cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossmeter.errors import UnavailableError, UsageError
from lossmeter.experiment import DEFAULT, Experiment, Variant
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plan.refusal import Refusal
from lossmeter.plan.remedies import Place, mended_targets
from lossmeter.run.admission import refusal
from lossmeter.studies.standing import CONTROL
from lossmeter.world.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell of the tables.

    Attributes:
        refusal: why it cannot be run; None for one that is to be run.
    """

    cell: Cell
    refusal: Refusal | None

    @property
    def place(self) -> Place:
        """Return the names of experiment and target, as a run carries them."""
        return self.cell.name, self.cell.target.name


def planned(
    catalogue: Catalogue, experiments: Sequence[str], targets: Sequence[str], runtime: Runtime
) -> list[Planned]:
    """Return the cells of these experiments, in their order; on these targets where some are named.

    Raises:
        UsageError: an experiment or target does not exist, or contradicts itself where its own
            file asks for it.
        UnavailableError: none can be run, since packages are not installed.
    """
    loaded = [catalogue.experiment(name) for name in experiments]
    listed = dict.fromkeys(t for e in loaded for v in e.variants for t in _listed(e, v))
    mends = mended_targets(catalogue, [] if targets else listed)
    backends = [] if targets else [name for name in listed if name not in mends]
    found: list[Planned] = []
    absent: list[UnavailableError] = []
    for experiment, variant in ((e, v) for e in loaded for v in e.variants):
        own = list(targets) or _listed(experiment, variant)
        more = [] if variant.remedy_of else backends
        also = mends if experiment.name == CONTROL else {}
        names = list(dict.fromkeys([*own, *more, *also]))
        for cell in cells(catalogue, experiment, names, [variant.name or DEFAULT]):
            asked = bool(targets) or cell.target.name in own
            try:
                why = _refusal(cell, runtime, asked=asked)
            except UnavailableError as error:
                absent.append(error)
                why = Refusal("not installed", str(error))
            found.append(Planned(cell, why))
    if absent and all(each.refusal for each in found):
        raise absent[0]
    return found


def _listed(experiment: Experiment, variant: Variant) -> list[str]:
    return list(variant.targets or experiment.targets)


def _refusal(cell: Cell, runtime: Runtime, *, asked: bool) -> Refusal | None:
    """Return why a cell cannot be run; ``asked``: its experiment lists its target."""
    if asked:
        return refusal(cell, runtime)
    if (why := _without_server(cell)) is not None:
        return why
    try:
        why = refusal(cell, runtime)
    except UnavailableError:
        raise
    except UsageError as error:
        # Nobody wrote that the two belong together, so nobody is wrong.
        return Refusal("contradiction", str(error))
    if why is None and cell.budget is None:
        said = "no budget says what it may cost, so no run of it could be judged"
        return Refusal("no budget", f"{cell.name} on {cell.target.name}: {said}")
    return why


def _without_server(cell: Cell) -> Refusal | None:
    """Return why a variant that sets servers alone asks nothing of a target without them."""
    named = [n.partition(".")[0] for n in cell.variant.settings if "." in n]
    if not named or set(named) & set(cell.target.services):
        return None
    servers = " or ".join(dict.fromkeys(named))
    why = f"{cell.name} sets {servers}, which target {cell.target.name} does not use"
    return Refusal(f"no {servers}", why)

"""What the reference tables consist of: every scenario on every backend, or why it cannot be.

A backend is a target that an experiment lists and that is no remedy of another. The scenarios
that one of them can be asked are asked of all, so that no cell is empty because nobody thought
of it. Remedies, targets as well as variants, are run where their experiments list them, and
without a fault, which shows what they cost.

Runs are kept as ``studies.standing`` says, in ``reference.json``. One that is kept counts for the
seed, the runtime and the kind of servers that it was made with, and as long as its folder is what
it left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lossmeter.errors import AlteredError, UnavailableError, UsageError
from lossmeter.experiment import DEFAULT, Experiment, Variant
from lossmeter.plan.catalogue import Catalogue, Cell, cells
from lossmeter.plan.predict.expected import expected
from lossmeter.plan.refusal import Refusal
from lossmeter.plan.remedies import Place, mended_targets, remedies
from lossmeter.plan.seeds import derived
from lossmeter.plan.target import target_files
from lossmeter.record.facts import Facts
from lossmeter.record.manifest import verify
from lossmeter.run.admission import needs_alone, refusal
from lossmeter.studies.digest import digest, files_in, with_code
from lossmeter.studies.standing import CONTROL, Entry, Made, Plan, State
from lossmeter.world.runtime import Runtime

# The runs that are kept, beside the tables.
STATE = "reference.json"
_DISPATCHER = "dispatcher"
SHOWN = "the tables show its throughput or p99"


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell of the tables.

    Attributes:
        refusal: why it cannot be run; None for one that is to be run.
        files: of its experiment, and of its target with those that it extends.
    """

    cell: Cell
    refusal: Refusal | None
    files: Sequence[Path] = ()

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
    files = {e.name: catalogue.experiment_file(n) for e, n in zip(loaded, experiments, strict=True)}
    rests = _TargetFiles(catalogue)
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
        own_cells = cells(catalogue, experiment, names, [variant.name or DEFAULT])
        for name, cell in zip(names, own_cells, strict=True):
            asked = bool(targets) or cell.target.name in own
            try:
                why = _refusal(cell, runtime, asked=asked)
            except UnavailableError as error:
                absent.append(error)
                why = Refusal("not installed", str(error))
            found.append(Planned(cell, why, [files[experiment.name], *rests.of(name)]))
    if absent and all(each.refusal for each in found):
        raise absent[0]
    return found


@dataclass(slots=True)
class _TargetFiles:
    """The files of targets, each looked up once."""

    catalogue: Catalogue
    known: dict[str, Sequence[Path]] = field(default_factory=dict)

    def of(self, name: str) -> Sequence[Path]:
        """Return the file of a target, and those that it extends."""
        if name not in self.known:
            file = self.catalogue.target_file(name)
            self.known[name] = target_files(file, (self.catalogue.project.targets,))
        return self.known[name]


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


# Runs that are kept.


@dataclass(frozen=True, slots=True)
class How:
    """How runs are made; one that was made otherwise is none of the same.

    Attributes:
        seed: of which those of the repeats follow.
        fresh_servers: each run has servers of its own.
    """

    runtime: Runtime
    seed: int
    fresh_servers: bool


def kept_plan(catalogue: Catalogue, plan: Sequence[Planned], how: How, repeats: int) -> Plan[Entry]:
    """Return the cells that can be run, with the digests of what their runs rest on."""
    folder = catalogue.file("targets", _DISPATCHER)
    shared = digest(_DISPATCHER, files_in(folder) if folder.is_dir() else [])
    made = f"{how.runtime.name} {how.seed} {'new' if how.fresh_servers else 'kept'}"
    entries = []
    for each in plan:
        if each.refusal is None:
            name, target = each.place
            files = digest(f"{name} {target} {made} {shared}", each.files)
            entries.append(Entry(name, each.cell, with_code(files), files))
    return Plan(repeats, entries)


def alone(catalogue: Catalogue, plan: Sequence[Planned], runtime: Runtime) -> dict[Place, str]:
    """Return the cells that nothing may run beside, each with the reason.

    Besides those that must have the machine, those whose throughput or p99 the page shows: as
    the price of a remedy, without a fault, or beside what was predicted.
    """
    pairs = remedies(catalogue, [each.place for each in plan])
    shown = {place for pair in pairs for place in (pair.bare, pair.mended)}
    found = {}
    for each in plan:
        if each.refusal is not None:
            continue
        if (why := needs_alone(each.cell, runtime)) is not None:
            found[each.place] = why
        elif each.place in shown or each.cell.experiment.name == CONTROL or _predicted(each.cell):
            found[each.place] = SHOWN
    return found


def _predicted(cell: Cell) -> bool:
    """Return whether a rate is predicted of a cell, so that the measured one is shown too."""
    return any(each.name.endswith("_per_s") for each in expected(cell).figures)


def drop_fallen(
    runs: Path, plan: Plan[Entry], state: State, how: How, alone: Collection[Place]
) -> Mapping[str, list[str]]:
    """Drop kept runs of a plan that cannot be taken any more; return their names by the reason."""
    told: dict[str, list[str]] = {}
    for entry in plan.entries:
        for made in state.of(entry):
            if why := _fallen(runs, made, how, (entry.column, entry.target) in alone):
                state.made.remove(made)
                name = f"{entry.column} on {entry.target}, repeat {made.repeat + 1}"
                told.setdefault(why, []).append(name)
    return told


def _fallen(runs: Path, made: Made, how: How, alone: bool) -> str:
    """Return why a run that was kept cannot be taken; empty for one that can."""
    folder = runs / made.run_id
    if not folder.is_dir():
        return "its folder is gone"
    try:
        facts = Facts.load(folder)
        sealed = verify(folder, facts.run_id, sealed=facts.sealed)
    except UsageError:
        return "its folder is damaged"
    except (AlteredError, OSError) as error:
        return str(error)
    said = (facts.run_id, facts.experiment, facts.target, facts.runtime, facts.seed)
    seed = derived(how.seed, made.repeat)
    if said != (made.run_id, made.experiment, made.target, how.runtime.name, seed):
        return "its folder holds another run"
    if sealed is None or sealed != made.manifest_sha256:
        return "its folder is not what it left"
    return "it was made beside others" if alone and facts.at_once > 1 else ""

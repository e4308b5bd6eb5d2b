"""Making the runs of the reference tables: each once before any twice, while there is time.

Runs that stand already are not made again, so what was interrupted goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lossmeter.commands._asked import AskedResults
from lossmeter.commands._making import Making, code_of, missing_of
from lossmeter.commands._running import pool_of
from lossmeter.commands._shared import say
from lossmeter.errors import ExitCode, InterruptedRunError
from lossmeter.model import plural
from lossmeter.plan.refusal import Refusal

if TYPE_CHECKING:
    from lossmeter.commands._making import Missing
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plan.remedies import Place
    from lossmeter.studies.reference import How, Planned
    from lossmeter.studies.standing import Entry, Plan, State
    from lossmeter.world.runtime import Runtime

# What a run takes besides its load: starting, settling, collecting, stopping.
AROUND_S = 12.0
TIME_UP = Refusal("not measured: time was up", "the time was up")
INTERRUPTED = Refusal("not measured: interrupted", "it was interrupted")
NOT_SET_UP = "not measured: not set up"
# Runs that are named one by one where they cannot be taken; of more their number suffices.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What runs are made of, and how.

    Attributes:
        experiments: in the order in which they are made.
        repeat: runs of each cell; ``within_s``: seconds after which none begins.
        at_once: how many cells may run side by side.
        again: those that stand already are made again.
        folder: where the tables are, and what keeps the runs.
    """

    catalogue: Catalogue
    experiments: Sequence[str]
    targets: Sequence[str]
    runtime: Runtime
    seed: int
    repeat: int
    within_s: float
    fresh_servers: bool
    at_once: int
    again: bool
    folder: Path

    @property
    def how(self) -> How:
        """Return what runs of the same kind have in common."""
        from lossmeter.studies.reference import How

        return How(self.runtime, self.seed, self.fresh_servers)


@dataclass(slots=True)
class Swept:
    """What there is.

    Attributes:
        every: the folders of all runs, cell by cell.
        absent: why a cell has no run.
        missing: a line for each cell that lacks runs, with the reason.
        ended_by: what ended it all, to be raised when the tables are written.
        code: 7 when runs are missing or were not judged, 5 when there is none, else 0.
    """

    every: list[Path] = field(default_factory=list)
    absent: dict[Place, Refusal] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    ended_by: BaseException | None = None
    code: ExitCode = ExitCode.NOTHING_JUDGED


@dataclass(slots=True)
class _Sweeping(Making):
    """How these runs are made; ``alone`` are the cells that nothing may run beside, with why."""

    alone: Mapping[Place, str] = field(default_factory=dict)

    def why_alone(self, entry: Entry) -> str | None:
        """Return why nothing may run beside a cell, or None."""
        return self.alone.get((entry.column, entry.target))


def sweep(asked: Asked, planned: Sequence[Planned]) -> Swept:
    """Make the runs that are missing. Whatever ends that, what is there is returned."""
    from lossmeter.studies.reference import STATE, alone, kept_plan
    from lossmeter.studies.standing import State

    plan = kept_plan(asked.catalogue, planned, asked.how, asked.repeat)
    by_itself = alone(asked.catalogue, planned, asked.runtime)
    path = asked.folder / STATE
    state = State.load(path)
    _drop(asked, plan, state, by_itself)

    def keep() -> None:
        from lossmeter.report._templates import write

        write(path, state.model_dump_json(indent=1) + "\n")

    missing = _missing(asked, plan, state)
    ends_at = time.monotonic() + asked.within_s
    how = _Sweeping(
        asked.catalogue, asked.runtime, asked.seed, ends_at, state, keep, alone=by_itself
    )
    ended_by: BaseException | None = None
    try:
        _make(asked, planned, how, missing)
    except (InterruptedRunError, KeyboardInterrupt) as error:
        ended_by = error
    return _swept(asked, planned, plan, how, ended_by)


def _drop(asked: Asked, plan: Plan[Entry], state: State, alone: Mapping[Place, str]) -> None:
    """Leave no run in the state that cannot be taken, and say why."""
    from lossmeter.studies.reference import drop_fallen

    if asked.again:
        digests = {entry.digest for entry in plan.entries}
        state.made = [made for made in state.made if made.digest not in digests]
    for why, names in drop_fallen(asked.catalogue.runs, plan, state, asked.how, alone).items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say(f"not taken, since {why}: {'; '.join(names[:_NAMED])}{more}")


def _missing(asked: Asked, plan: Plan[Entry], state: State) -> Missing:
    """Return the runs that are still to be made, and say how many and how long that takes."""
    missing = missing_of(plan, state)
    expected_s = sum(entry.cell.variant.load.duration_s + AROUND_S for _, entry in missing)
    say(
        f"runtime {asked.runtime.name}, seed {asked.seed}: about {expected_s / 60:.0f} min one "
        f"after the other; none begins after {asked.within_s / 60:g} min"
    )
    return missing


def _make(asked: Asked, planned: Sequence[Planned], how: _Sweeping, missing: Missing) -> None:
    if asked.at_once == 1 or not missing:
        with pool_of(asked.fresh_servers) as pool:
            how.in_turn(missing, pool)
        return
    words = AskedResults(
        experiments=list(asked.experiments),
        targets=list(asked.targets),
        runtime=asked.runtime.name,
        fresh_servers=asked.fresh_servers,
    )
    how.at_once(missing, words, [each.cell for each in planned], asked.at_once)


def _swept(
    asked: Asked,
    planned: Sequence[Planned],
    plan: Plan[Entry],
    how: _Sweeping,
    ended_by: BaseException | None,
) -> Swept:
    """Return what there is, and why there is no more."""
    found = Swept(ended_by=ended_by, code=code_of(plan, how.state))
    for each in planned:
        if each.refusal is not None:
            found.absent[each.place] = each.refusal
            found.missing.append(f"{_named(each.place)}: {each.refusal.why}")
    for entry in plan.entries:
        runs = [made for made in how.state.of(entry) if made.repeat < plan.repeats]
        found.every += [asked.catalogue.runs / made.run_id for made in runs]
        if len(runs) < plan.repeats:
            _note_lacking(found, entry, len(runs), plan.repeats, how)
    return found


def _note_lacking(found: Swept, entry: Entry, runs: int, of: int, how: _Sweeping) -> None:
    """Note that a cell lacks runs, and why."""
    place = entry.column, entry.target
    why = TIME_UP if found.ended_by is None else INTERRUPTED
    if place in how.failed:
        why = Refusal(NOT_SET_UP, how.failed[place])
    some = f"{runs} of {plural(of, 'run')}: " if runs else ""
    found.missing.append(f"{_named(place)}: {some}{why.why}")
    if not runs:
        found.absent[place] = why


def _named(place: Place) -> str:
    return f"{place[0]} on {place[1]}"

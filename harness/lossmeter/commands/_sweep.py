"""Making the runs of the reference tables: each once before any twice, while there is time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lossmeter.commands._running import Placed, pool_of, prepare, run_all
from lossmeter.commands._shared import say
from lossmeter.errors import HarnessError, InterruptedRunError
from lossmeter.model import plural
from lossmeter.plan.refusal import Refusal

if TYPE_CHECKING:
    from lossmeter.plan.catalogue import Catalogue
    from lossmeter.plan.remedies import Place
    from lossmeter.studies.reference import Planned
    from lossmeter.world.runtime import Runtime
    from lossmeter.world.server_pool import ServerPool

# What a run takes besides its load: starting, settling, collecting, stopping.
AROUND_S = 12.0
TIME_UP = Refusal("not measured: time was up", "the time was up")
INTERRUPTED = Refusal("not measured: interrupted", "it was interrupted")
NOT_SET_UP = "not measured: not set up"


@dataclass(frozen=True, slots=True)
class Asked:
    """How the runs are made.

    Attributes:
        repeat: runs of each cell; ``within_s``: seconds after which none begins.
    """

    catalogue: Catalogue
    runtime: Runtime
    seed: int
    repeat: int
    within_s: float
    fresh_servers: bool


@dataclass(slots=True)
class Swept:
    """What was made.

    Attributes:
        folders: those of the runs of each cell, in their order.
        absent: why a cell has no run.
        missing: a line for each cell that lacks runs, with the reason.
        ended_by: what ended it all, to be raised when the tables are written.
    """

    folders: dict[Place, list[Path]] = field(default_factory=dict)
    absent: dict[Place, Refusal] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    ended_by: BaseException | None = None

    @property
    def every(self) -> list[Path]:
        """Return the folders of all runs, cell by cell."""
        return [folder for folders in self.folders.values() for folder in folders]


def sweep(asked: Asked, plan: Sequence[Planned]) -> Swept:
    """Make the runs that can be made. Whatever ends that, what is there is returned."""
    made = Swept(absent={each.place: each.refusal for each in plan if each.refusal is not None})
    made.missing = [f"{_named(place)}: {refused.why}" for place, refused in made.absent.items()]
    ready = [each for each in plan if each.refusal is None]
    runs = len(ready) * asked.repeat
    expected_s = sum(each.cell.variant.load.duration_s + AROUND_S for each in ready)
    say(
        f"runtime {asked.runtime.name}, seed {asked.seed}: {plural(runs, 'run')}, about "
        f"{expected_s * asked.repeat / 60:.0f} min; none begins after {asked.within_s / 60:g} min"
    )
    if not ready:
        return made
    prepare([Placed(each.cell, asked.runtime) for each in ready])
    why: Refusal | None = None
    try:
        with pool_of(asked.fresh_servers) as pool:
            why = _make(asked, ready, pool, made)
    except (InterruptedRunError, KeyboardInterrupt) as error:
        why, made.ended_by = INTERRUPTED, error
    _note_lacking(asked, [each.place for each in ready], made, why or TIME_UP)
    return made


def _make(asked: Asked, ready: Sequence[Planned], pool: ServerPool, made: Swept) -> Refusal | None:
    """Make the runs repeat by repeat; return why some are missing, None for none."""
    ends_at, why = time.monotonic() + asked.within_s, None
    for repeat in range(asked.repeat):
        able = [
            Placed(each.cell, asked.runtime)
            for each in ready
            if not repeat or each.place in made.folders
        ]
        runs = run_all(able, asked.seed, asked.catalogue, repeat=repeat, pool=pool)
        try:
            for result in runs:
                folder = asked.catalogue.runs / result.run_id
                made.folders.setdefault((result.experiment, result.target), []).append(folder)
                if time.monotonic() >= ends_at:
                    return TIME_UP
        except InterruptedRunError:
            raise
        except HarnessError as error:
            # That of a cell that could not be set up, when all the others have been run.
            why = Refusal(NOT_SET_UP, str(error))
    return why


def _note_lacking(asked: Asked, places: Sequence[Place], made: Swept, why: Refusal) -> None:
    """Note which cells lack runs, and why."""
    lacking = {p: n for p in places if (n := len(made.folders.get(p, []))) < asked.repeat}
    for place, number in lacking.items():
        some = f"{number} of {plural(asked.repeat, 'run')}: " if number else ""
        made.missing.append(f"{_named(place)}: {some}{why.why}")
        if not number:
            made.absent[place] = why
    if lacking:
        runs = sum(asked.repeat - number for number in lacking.values())
        say(f"{why.why}; {plural(runs, 'run is', 'runs are')} not made")


def _named(place: Place) -> str:
    return f"{place[0]} on {place[1]}"

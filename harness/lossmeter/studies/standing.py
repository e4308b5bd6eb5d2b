"""Cells of which runs are kept: each is made once, and again when what it rests on has changed.

That is the target's files, the experiment, and the code that runs and judges. The board of
frameworks, the known reports and the reference tables keep their runs so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lossmeter.errors import UsageError
from lossmeter.model import Counts, Verdict
from lossmeter.plan.catalogue import Cell
from lossmeter.record.files import read_text
from lossmeter.record.result import Result
from lossmeter.studies.digest import digest, files_in, with_code

CONTROL, LOSSY = "control", "control-lossy"


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell of which runs are kept.

    Attributes:
        column: the experiment's name as a table has it.
        digest: of all that its runs rest on.
        files: digest of target and experiment alone.
    """

    column: str
    cell: Cell
    digest: str
    files: str

    @property
    def target(self) -> str:
        """Return the name of the configuration."""
        return self.cell.target.name


E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Plan(Generic[E]):
    """How often each cell is run, and the cells, row by row."""

    repeats: int
    entries: Sequence[E]

    @property
    def columns(self) -> list[str]:
        """Return the experiments, in the order of the file."""
        return list(dict.fromkeys(entry.column for entry in self.entries))

    @property
    def targets(self) -> list[str]:
        """Return the configurations, in the order of the file."""
        return list(dict.fromkeys(entry.target for entry in self.entries))


class Made(BaseModel):
    """One run of a cell, as it is kept.

    ``digest`` is that of all that it rests on, ``files`` that of target and experiment alone;
    ``late_by_s`` and ``recovery_s`` are in seconds, ``p99_ms`` in milliseconds,
    ``persisted_per_s`` in events per second; each is None
    where the run does not show it. ``commit`` and ``servers``, versions by name, are empty
    where they were not recorded. ``survived``: the target outlived the limit of a fault.
    ``manifest_sha256`` is the digest of what the run recorded, None where it has none.
    """

    model_config = ConfigDict(extra="forbid")

    target: str
    experiment: str
    repeat: int
    seed: int
    digest: str
    files: str
    run_id: str
    verdict: Verdict
    reason: str
    counts: Counts
    late_by_s: float | None = None
    recovery_s: float | None = None
    p99_ms: float | None = None
    persisted_per_s: float | None = None
    lost_when: dict[str, int] = {}
    planted: int | None = None
    survived: bool = False
    manifest_sha256: str | None = None
    commit: str = ""
    servers: dict[str, str] = {}

    @property
    def judged(self) -> bool:
        """Return whether it says anything."""
        return self.verdict.judged

    @property
    def gravity(self) -> tuple[int, ...]:
        """Return what the worst of several repeats is found by."""
        counts = self.counts
        return (counts.lost, counts.held, counts.duplicated, counts.late, counts.unresolved)

    @classmethod
    def of(cls, result: Result, entry: Entry, repeat: int) -> Made:
        """Return what is kept of a run."""
        load = result.load
        return cls(
            target=entry.target,
            experiment=entry.column,
            repeat=repeat,
            seed=result.seed,
            digest=entry.digest,
            files=entry.files,
            run_id=result.run_id,
            verdict=result.verdict,
            reason=result.reason,
            counts=result.counts,
            late_by_s=result.late_by_s,
            recovery_s=result.recovery_s,
            p99_ms=load.latency_p99_ms if load else None,
            persisted_per_s=load.persisted_per_s if load else None,
            lost_when=result.lost_when,
            manifest_sha256=result.manifest_sha256,
            planted=result.predicted.lost if result.predicted and entry.column == LOSSY else None,
        )


class State(BaseModel):
    """All runs that are kept, e.g. ``board.json``."""

    model_config = ConfigDict(extra="forbid")

    made: list[Made] = []

    @classmethod
    def load(cls, path: Path) -> State:
        """Read them; there are none where there is no file.

        Raises:
            UsageError: the file is not one of these.
        """
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(read_text(path))
        except (ValidationError, OSError, ValueError) as error:
            raise UsageError(f"{path} is not what keeps runs; remove it: {error}") from None

    def of(self, entry: Entry) -> list[Made]:
        """Return the runs of a cell that still stand, by repeat."""
        found = [each for each in self.made if each.digest == entry.digest]
        return sorted(found, key=lambda each: each.repeat)

    def add(self, made: Made) -> None:
        """Keep a run in the place of what it replaces."""
        own = (made.target, made.experiment, made.repeat)
        rest = [e for e in self.made if (e.target, e.experiment, e.repeat) != own]
        self.made = [*rest, made]


def worst(runs: Iterable[Made]) -> Made | None:
    """Return the worst of the judged runs; None where none was judged."""
    return max((run for run in runs if run.judged), key=lambda run: run.gravity, default=None)


def digests_of(target: str, file: Path, experiment: Path) -> tuple[str, str]:
    """Return ``digest`` and ``files`` of a cell: the folder of a target's file, and the rest."""
    files = digest(target, [*files_in(file.parent), experiment])
    return with_code(files), files


def pending(plan: Plan[E], state: State) -> list[tuple[int, E]]:
    """Return the runs that are still to be made, all cells once before any twice.

    One that was not judged says nothing, and is made again.
    """
    there: Mapping[str, set[int]] = {
        entry.digest: {run.repeat for run in state.of(entry) if run.judged}
        for entry in plan.entries
    }
    return [
        (repeat, entry)
        for repeat in range(plan.repeats)
        for entry in plan.entries
        if repeat not in there[entry.digest]
    ]

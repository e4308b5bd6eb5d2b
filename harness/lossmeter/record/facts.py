"""What a run saves about itself before anything is judged: ``facts.json``.

Together with the journals and the arrays beside it, this is all that a judgement needs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lossmeter.errors import UsageError
from lossmeter.model import AckLevel, Evidence, Predicted, without_numbers
from lossmeter.plan.budget import Budget
from lossmeter.plan.tables import first_problem
from lossmeter.record.files import read_bytes, why, write_text
from lossmeter.record.json_text import json_text

FACTS = "facts.json"
# How the problem of a fault begins that was injected and could not be taken back.
NOT_HEALED = "not healed: "
Model = TypeVar("Model", bound=BaseModel)


class FaultRecord(BaseModel):
    """One fault as it was carried out.

    Attributes:
        met_ns: when the condition was seen to hold; None when it never did.
        look_gap_s: seconds since the look before, at which it did not hold yet.
        injected_ns, healed_ns: wall clock when injecting began and healing was done; None when
            it did not come to that. Several faults may hold at the same time.
        struck_ns: when it struck the target, where that was later than its injection.
        gone_ns: when the target was found to have ended by it; until then it may have acked.
        step: the step that it was aimed at; ``aimed``: the events that had come so far and
            no farther when the target was frozen for it; ``looks``: how often it was frozen.
        queue_length, in_flight: the probe's last reading before the fault; ``looked_ns``:
            when the target gave it.
        struck: it struck the target; a limit that the target survived did not.
        survived: the target lived through what could have ended it.
        problem: why it could not be injected or healed.
    """

    model_config = ConfigDict(extra="forbid")

    fault: str
    condition: str | None = None
    step: str | None = None
    aimed: list[tuple[int, int]] = []
    looks: int = 0
    met_ns: int | None = None
    look_gap_s: float | None = None
    injected_ns: int | None = None
    struck_ns: int | None = None
    gone_ns: int | None = None
    healed_ns: int | None = None
    queue_length: int | None = None
    in_flight: int | None = None
    looked_ns: int | None = None
    struck: bool = True
    survived: bool = False
    evidence: list[Evidence] = []
    problem: str | None = None

    @property
    def hit_ns(self) -> int | None:
        """Return when the fault struck: at its injection, unless that was later."""
        return self.injected_ns if self.struck_ns is None else self.struck_ns

    @property
    def held_s(self) -> float | None:
        """Return the seconds between injection and the end of the healing."""
        if self.injected_ns is None or self.healed_ns is None:
            return None
        return (self.healed_ns - self.injected_ns) / 1e9

    @property
    def blind_s(self) -> float:
        """Return the seconds between the target's last word and the fault."""
        if self.hit_ns is None or self.looked_ns is None:
            return 0.0
        return max(0, self.hit_ns - self.looked_ns) / 1e9

    @property
    def lag_s(self) -> float | None:
        """Return the seconds between the condition being seen and the fault being sent."""
        if self.met_ns is None or self.injected_ns is None:
            return None
        return (self.injected_ns - self.met_ns) / 1e9


class Facts(BaseModel):
    """One run of one experiment variant on one target.

    Attributes:
        experiment: with the variant, and with what was ``asked``.
        asked: the numbers that a command line gave in place of the experiment's own.
        load_scale: how many times as many events as the experiment's own load these make.
        begun_ns: wall clock; None in runs recorded without it.
        sealed: it was recorded with a manifest of digests, as every run is since they exist.
        redelivered_after_s: after how long the target's broker gives an event again.
        stranded_measured: the broker was asked which events it holds without an owner.
        queue_most: the longest that the queue was seen from outside; None where it was not read.
        pending_named: the broker was seen to hold an event by its id; None where it was not asked.
        pending_doubt: why what the broker was said to hold may not be what it held; or empty.
        at_once: how many runs there might be side by side, this one among them.
        again_for: the run that lacked CPU beside others, in whose place this one was made alone.
        cpus: how many CPUs each part of the run used on average under the load, by its name, with
            ``others`` and ``idle``; empty where processes are not to be told apart.
    """

    model_config = ConfigDict(extra="forbid")

    run_id: str
    begun_ns: int | None = None
    sealed: bool = False
    experiment: str
    asked: dict[str, str | int | float] = {}
    load_scale: float = 1.0
    hypothesis: str
    target: str
    ack_level: AckLevel
    runtime: str
    seed: int
    events_planned: int
    rate_per_s: float
    exact: bool
    budget: Budget | None = None
    faults: list[FaultRecord] = []
    predicted: Predicted | None = None
    hashes_measured: bool = False
    positions_measured: bool = False
    times_measured: bool = False
    load_exit_code: int | None = None
    settled: bool = False
    settled_how: str = "not reached"
    collected: bool = False
    collected_ns: int | None = None
    redelivered_after_s: float | None = None
    stranded_measured: bool = False
    queue_most: int | None = None
    pending_named: bool | None = None
    pending_doubt: str = ""
    stages_marked: bool = False
    clock_jump_s: float | None = None
    probe_gap_s: float | None = None
    root_seed: int | None = None
    repeat: int = 0
    at_once: int = 1
    again_for: str = ""
    cpus: dict[str, float] = {}
    doubts: list[str] = []
    problem: str | None = None
    interrupted: bool = False
    timings_s: dict[str, float] = {}

    @property
    def struck_ns(self) -> tuple[int, ...]:
        """Return when faults struck, wall clock."""
        return tuple(f.hit_ns for f in self.faults if f.struck and f.hit_ns is not None)

    @property
    def question(self) -> str:
        """Return the experiment with its variant, without what was asked beside."""
        return without_numbers(self.experiment)

    @property
    def begun(self) -> datetime | None:
        """Return when the run began, UTC; None where it did not record that."""
        try:
            if self.begun_ns is not None:
                return datetime.fromtimestamp(self.begun_ns / 1e9, UTC)
            # Before the time was recorded as such, it stood at the beginning of the run's id.
            return datetime.strptime(self.run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except (ValueError, OverflowError, OSError):
            return None

    def save(self, folder: Path) -> None:
        """Write the facts; a reader never sees half a file."""
        write_text(folder / FACTS, json_text(self) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the facts of a run folder.

        Raises:
            UsageError: the folder is not a run's, or its facts are damaged.
        """
        return load_json(cls, folder, FACTS)


def load_json(kind: type[Model], folder: Path, name: str) -> Model:
    """Read a file of a run folder.

    Raises:
        UsageError: the folder is not a run's, or the file is damaged.
    """
    path = folder / name
    try:
        return kind.model_validate_json(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} is not the folder of a run: it has no {name}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: it {why(error)}") from None
    except ValidationError as error:
        raise UsageError(f"{path} is damaged: {first_problem(error)}") from None

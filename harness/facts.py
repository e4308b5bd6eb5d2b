"""What a run saves about itself before anything is judged: ``facts.json``.

Together with the journals and the arrays beside it, this is all that a judgement needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.budget import Budget
from harness.errors import UsageError
from harness.model import AckLevel, Evidence, Predicted

FACTS = "facts.json"


class FaultRecord(BaseModel):
    """One fault as it was carried out.

    Attributes:
        met_ns: when the condition was seen to hold; None when it never did.
        look_gap_s: seconds since the look before, at which it did not hold yet.
        injected_ns, healed_ns: wall clock; None when it did not come to that.
        struck_ns: when it hit the target, where that was later than its injection.
        step: the step that it was aimed at; ``aimed``: the events that had come so far and
            no farther when the target was frozen for it; ``looks``: how often it was frozen.
        queue_length, in_flight: the probe's last reading before the fault; ``looked_ns``:
            when the target gave it.
        struck: it hit the target; a limit that the target survived did not.
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
    healed_ns: int | None = None
    queue_length: int | None = None
    in_flight: int | None = None
    looked_ns: int | None = None
    struck: bool = True
    evidence: list[Evidence] = []
    problem: str | None = None

    @property
    def held_s(self) -> float | None:
        """Return the seconds between injection and the end of the healing."""
        if self.injected_ns is None or self.healed_ns is None:
            return None
        return (self.healed_ns - self.injected_ns) / 1e9

    @property
    def blind_s(self) -> float:
        """Return the seconds between the target's last word and the fault."""
        at_ns = self.struck_ns or self.injected_ns
        if at_ns is None or self.looked_ns is None:
            return 0.0
        return max(0, at_ns - self.looked_ns) / 1e9

    @property
    def lag_s(self) -> float | None:
        """Return the seconds between the condition being seen and the fault being sent."""
        if self.met_ns is None or self.injected_ns is None:
            return None
        return (self.injected_ns - self.met_ns) / 1e9


class Facts(BaseModel):
    """One run of one experiment variant on one target."""

    model_config = ConfigDict(extra="forbid")

    run_id: str
    experiment: str
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
    stages_marked: bool = False
    clock_jump_s: float | None = None
    probe_gap_s: float | None = None
    root_seed: int | None = None
    repeat: int = 0
    problem: str | None = None
    interrupted: bool = False
    timings_s: dict[str, float] = {}

    def save(self, folder: Path) -> None:
        """Write the facts; a reader never sees half a file."""
        path = folder / FACTS
        partial = path.with_suffix(".tmp")
        partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the facts of a run folder.

        Raises:
            UsageError: the folder is not a run's, or its facts are damaged.
        """
        path = folder / FACTS
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError:
            raise UsageError(f"{folder} is not the folder of a run: it has no {FACTS}") from None
        except ValidationError as error:
            raise UsageError(f"{path} is damaged: {error.errors()[0]['msg']}") from None

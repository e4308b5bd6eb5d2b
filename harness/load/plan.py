"""What the load process is told: one JSON file, named by an environment variable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

PLAN_VARIABLE = "LOSSMETER_LOAD_PLAN"

# Where a load process on another machine keeps its journal; its plan comes from the master.
FOLDER_VARIABLE = "LOSSMETER_LOAD_FOLDER"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Everything one load process needs; see ``harness.experiment.Load`` for the meanings.

    ``in_service`` is a file that lists the addresses that take requests now, one a line;
    empty when there is but ``host`` and ``port``. ``processes`` is how many load processes
    share the schedule, each with a journal of its own; ``listen`` is the ``host:port`` at
    which they report when they are started elsewhere, empty when they are started here.
    """

    host: str
    port: int
    path: str
    body: str
    accepted: list[int]
    refused: list[int]
    timeout_s: float
    phases: list[tuple[float, float]]
    producers: int
    payload_bytes: int
    max_in_flight: int
    seed: int
    folder: str
    in_service: str = ""
    processes: int = 1
    listen: str = ""

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan that ``save`` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

"""What the load process is given: one JSON file, named by an environment variable."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

PLAN_VARIABLE = "LOSSMETER_LOAD_PLAN"

# Where a load process on another machine keeps its journal; its plan comes from the master.
FOLDER_VARIABLE = "LOSSMETER_LOAD_FOLDER"


# What an ingress program is given besides, and what stands in the head of each request, as
# JSON: in no file, since they may hold secrets.
ENVIRONMENT_VARIABLE = "LOSSMETER_INGRESS_ENVIRONMENT"
HEAD_VARIABLE = "LOSSMETER_LOAD_HEAD"


@dataclass(frozen=True, slots=True)
class Feeder:
    """An ingress program: what events are handed to where they do not go by HTTP.

    Attributes:
        argv: its command.
        folder: its working folder; empty for that of the load process.
        lead_s: how long before the first event it is started.
    """

    argv: list[str]
    folder: str = ""
    lead_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """What is said with each request, besides its path and its body.

    Attributes:
        method: of HTTP.
        query: what follows the path.
        headers: by name.
        certificates: PEM of those that sign the server's own; empty without TLS.
        server_name: who the server is in its certificate; empty for its address.
    """

    method: str = "POST"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    certificates: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Everything one load process needs; see ``lossmeter.experiment.Load`` for the meanings.

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
    feeder: Feeder | None = None
    head: Head = field(default_factory=Head)

    def save(self, path: Path) -> None:
        """Write the plan as JSON, but for the head, which may hold secrets."""
        fields = asdict(self)
        del fields["head"]
        path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan that ``save`` wrote; its head is in the environment."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls.of(fields | {"head": json.loads(os.environ.get(HEAD_VARIABLE, "{}"))})

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """Return the plan of what ``asdict`` made of it."""
        feeder = fields.get("feeder")
        head = Head(**fields.get("head") or {})
        return cls(**fields | {"feeder": Feeder(**feeder) if feeder else None, "head": head})

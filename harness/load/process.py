"""The load process seen from the harness: how it is started and how far it is."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LoadError
from harness.load.journal import recorded
from harness.load.plan import FOLDER_VARIABLE, PLAN_VARIABLE, LoadPlan
from harness.model import Address
from harness.ports import LOOPBACK, free_port

# Where a load process in a pod keeps its journal until its master has it.
IN_POD = Path("/journals")

# How long load processes may take to come up; elsewhere, a person starts them.
HERE_WITHIN_S, ELSEWHERE_WITHIN_S = 15, 300


@dataclass(frozen=True, slots=True)
class LoadCommand:
    """What a runtime starts; ``journals`` lie in ``folder`` afterwards."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    folder: Path


def load_command(plan: LoadPlan, limit_s: float) -> LoadCommand:
    """Save the plan and return the command that carries it out.

    Args:
        plan: its folder must exist and hold no journal.
        limit_s: hard bound on the process, for when the target never answers.
    """
    folder = Path(plan.folder)
    path = folder / "load-plan.json"
    plan.save(path)
    users = str(plan.processes)
    argv = (
        *(*_locust(), "--only-summary"),
        *("--users", users, "--spawn-rate", users, "--run-time", f"{int(limit_s) + 1}s"),
        # Without a stop time-out Locust ends by cutting requests short.
        *("--stop-timeout", str(int(plan.timeout_s) + 1), "--exit-code-on-error", "0"),
        *_shared(plan),
    )
    return LoadCommand(argv, {PLAN_VARIABLE: str(path)}, folder)


def worker_command(master: Address, processes: int, folder: Path) -> LoadCommand:
    """Return the command of load processes whose master is elsewhere.

    Args:
        master: where it listens.
        processes: how many to start here.
        folder: gets their journals, which go to the master as well.
    """
    argv = (
        *(*_locust(), "--worker", "--master-host", master.host, "--master-port", str(master.port)),
        *(("--processes", str(processes)) if processes > 1 else ()),
    )
    return LoadCommand(argv, {FOLDER_VARIABLE: str(folder)}, folder)


def pod_command(master: Address, folder: Path) -> LoadCommand:
    """Return what Locust is given in a pod whose image has it as its entry point."""
    argv = ("--worker", "--master-host", master.host, "--master-port", str(master.port))
    return LoadCommand(argv, {FOLDER_VARIABLE: str(folder)}, folder)


def _locust() -> tuple[str, ...]:
    spec = importlib.util.find_spec("harness.load.locustfile")
    if spec is None or spec.origin is None:
        raise LoadError("harness/load/locustfile.py is missing from the installation")
    return (sys.executable, "-m", "locust", "-f", spec.origin, "--headless")


def _shared(plan: LoadPlan) -> tuple[str, ...]:
    """Return what makes Locust share the load out to several processes."""
    if plan.listen:
        listen = Address.parse(plan.listen)
        return (
            *("--master", "--expect-workers", str(plan.processes)),
            *("--expect-workers-max-wait", str(ELSEWHERE_WITHIN_S)),
            *("--master-bind-host", listen.host, "--master-bind-port", str(listen.port)),
        )
    if plan.processes == 1:
        return ()
    port = str(free_port())
    return (
        *("--processes", str(plan.processes)),
        *("--expect-workers-max-wait", str(HERE_WITHIN_S)),
        *("--master-host", LOOPBACK, "--master-port", port),
        *("--master-bind-host", LOOPBACK, "--master-bind-port", port),
    )


def events_sent(folder: Path) -> int:
    """Return roughly how many events the journals in ``folder`` hold, for progress only."""
    records = 0
    for path in folder.glob("journal-*.bin"):
        with path.open("rb") as journal:
            records += recorded(journal.fileno())
    return records // 2

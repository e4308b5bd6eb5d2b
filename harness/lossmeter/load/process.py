"""The load process seen from the harness: how it is started and how far it is."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lossmeter.errors import LoadError
from lossmeter.load.acquainted import SECRET_VARIABLE, secret
from lossmeter.load.plan import FOLDER_VARIABLE, HEAD_VARIABLE, PLAN_VARIABLE, LoadPlan
from lossmeter.model import Address
from lossmeter.record.files import open_regular
from lossmeter.record.journal_format import recorded
from lossmeter.world.isolation import python_command, python_environment
from lossmeter.world.ports import LOOPBACK, free_port

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
    # The process runs in that folder, so what it is given must not depend on the caller's.
    folder = Path(plan.folder).absolute()
    path = folder / "load-plan.json"
    listed = str(Path(plan.in_service).absolute()) if plan.in_service else ""
    replace(plan, folder=str(folder), in_service=listed).save(path)
    users = str(plan.processes)
    argv = (
        *(*_locust(), "--only-summary"),
        *("--users", users, "--spawn-rate", users, "--run-time", f"{int(limit_s) + 1}s"),
        # Without a stop time-out Locust ends by cutting requests short.
        *("--stop-timeout", str(int(plan.timeout_s) + 1), "--exit-code-on-error", "0"),
        *_shared(plan),
    )
    head = {HEAD_VARIABLE: json.dumps(asdict(plan.head))}
    return LoadCommand(argv, python_environment() | _known(PLAN_VARIABLE, path) | head, folder)


def worker_command(master: Address, processes: int, folder: Path) -> LoadCommand:
    """Return the command of load processes whose master is elsewhere."""
    argv = (
        *(*_locust(), "--worker", "--master-host", master.host, "--master-port", str(master.port)),
        *(("--processes", str(processes)) if processes > 1 else ()),
    )
    return LoadCommand(argv, python_environment() | _known(FOLDER_VARIABLE, folder), folder)


def pod_command(master: Address, folder: Path) -> LoadCommand:
    """Return what Locust is given in a pod whose image has it as its entry point."""
    argv = ("--worker", "--master-host", master.host, "--master-port", str(master.port))
    return LoadCommand(argv, _known(FOLDER_VARIABLE, folder), folder)


def _known(variable: str, path: Path) -> dict[str, str]:
    """Return what each load process is given by its environment, and not by a file or command."""
    return {variable: str(path), SECRET_VARIABLE: secret()}


def _locust() -> tuple[str, ...]:
    spec = importlib.util.find_spec("lossmeter.load.locustfile")
    if spec is None or spec.origin is None:
        raise LoadError("lossmeter/load/locustfile.py is missing from the installation")
    return (*python_command("lossmeter.load.alone"), "-f", spec.origin, "--headless")


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
        # What cannot be read is reported when the run is judged.
        with suppress(OSError), open_regular(path) as journal:
            records += recorded(journal.fileno())
    return records // 2

"""Processes of a run: started with a mark, supervised, and found again after a crash.

Every process started here carries its owner's mark; see ``lossmeter.world.ownership``.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.record.files import read_bytes
from lossmeter.world import isolation
from lossmeter.world.ownership import MARK, Owner, start_ticks
from lossmeter.world.process_table import environment, process_table, read, send
from lossmeter.world.programs import SAME, UserAccount
from lossmeter.world.runtimes._cgroups import members
from lossmeter.world.site import Exit, Incarnation, Process
from lossmeter.world.waiting import wait_for

UNPRIVILEGED_USER = "nobody"
STOP_WITHIN_S = 10.0
# One that forks while it is looked for is looked for again.
ROUNDS = 20

STARTED: set[tuple[int, int]] = set()
"""Process ids and start ticks of all that this harness has started and looks after."""


def marked() -> Iterator[tuple[Process, Owner]]:
    """Yield every process on this machine that carries a mark and that this user may read."""
    for process in process_table().values():
        owner = owner_of(process.pid)
        if owner is not None and process.pid != os.getpid() and not process.ended:
            yield process, owner


def owner_of(pid: int) -> Owner | None:
    """Return whose mark a process carries; None for nobody's.

    One that wrote over its environment works in a folder that bears its owner's name.
    """
    if given := environment(pid):
        return Owner.parse(given.get(MARK, ""))
    try:
        folder = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
    owners = (Owner.of_folder(part) for part in folder.parts)
    return next((owner for owner in owners if owner is not None), None)


def kill_marked(owner: Owner) -> list[str]:
    """Kill what still carries the owner's mark; return a line for each process."""
    lines: list[str] = []
    for _ in range(ROUNDS):
        killed = kill_all(process for process, of in marked() if of == owner)
        if not killed:
            break
        lines += [line_of(process) for process in killed]
    return lines


def kill_dead() -> list[str]:
    """Kill what carries the mark of a harness that no longer runs; return a line for each."""
    dead = {owner for _, owner in marked() if not owner.alive()}
    return [f"{line} of run {owner.run_id}" for owner in dead for line in kill_marked(owner)]


def kill_all(processes: Iterable[Process]) -> list[Process]:
    """Kill processes and wait until they are gone; return those that were still there."""
    killed = [process for process in processes if may_send(process, signal.SIGKILL)]
    wait_for(lambda: not any(map(runs, killed)), STOP_WITHIN_S, 0.005)
    return killed


def runs(process: Process) -> bool:
    """Return whether exactly this process still runs."""
    return start_ticks(process.pid) == process.start_ticks


def may_send(process: Process, number: int) -> bool:
    """Send a signal; return whether the process was there and this user was allowed to."""
    try:
        return send(process, number)
    except PermissionError:
        return False


def members_of(group: Path) -> list[Process]:
    """Return the processes of a control group, the oldest first."""
    found = [each for pid in members(group) if (each := read(pid)) and not each.ended]
    return sorted(found, key=lambda each: each.start_ticks)


def line_of(process: Process) -> str:
    """Return how a process is called where it is given that it was removed."""
    return f"process {process.pid} ({process.name})"


def account(unprivileged: bool) -> UserAccount:
    """Return the account for a server; root steps down for one that refuses root."""
    if not unprivileged or os.geteuid() != 0:
        return SAME
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise UnavailableError(
            f"this machine has no user {UNPRIVILEGED_USER!r} to run PostgreSQL as; "
            "create it, or run as an ordinary user"
        ) from None
    return UserAccount(entry.pw_uid, entry.pw_gid)


class Child:
    """One started process, in a session of its own, logging to a file."""

    def __init__(  # noqa: PLR0913 - what a process is made of
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: Path,
        who: UserAccount = SAME,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.stop_signal: int = signal.SIGTERM
        with log.open("ab") as sink:
            self._log_from = sink.tell()
            self.popen = subprocess.Popen(
                argv,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
                user=who.user,
                group=who.group,
                extra_groups=who.groups,
            )
        self.pid = self.popen.pid
        # Also of one that has ended by now: until it is waited for, its id is no other's.
        started = read(self.pid)
        self.start_ticks = started.start_ticks if started else 0
        STARTED.add((self.pid, self.start_ticks))
        self.started_ns = time.time_ns()
        self.ready_s = 0.0

    @property
    def lifetime(self) -> Incarnation:
        """Return its lifetime: a process has one."""
        return Incarnation(self.pid, self.start_ticks, self.started_ns, self.ready_s)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.popen.poll()

    def kill(self) -> Exit:
        """Send SIGKILL to this process alone and wait for its end."""
        self.popen.kill()
        return self.wait(STOP_WITHIN_S)

    def wait(self, timeout_s: float) -> Exit:
        """Wait for the end and tell how it came.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout_s``.
        """
        code = self.popen.wait(timeout_s)
        ended_by = -code if code < 0 else None
        return Exit(128 - code if code < 0 else code, ended_by, time.time_ns(), "waitpid")

    def wait_ready(self, ready: Callable[[], bool], within_s: float) -> str | None:
        """Wait until it says that it is ready; return None, or why it is not."""
        why = why_not_ready(self.poll, ready, within_s)
        if why is not None:
            return f"{why}: {self.last_lines()}"
        self.ready_s = (time.time_ns() - self.started_ns) / 1e9
        return None

    def terminate(self) -> None:
        """Ask it to end, and make it after ``STOP_WITHIN_S``."""
        if self.popen.poll() is None:
            self.popen.send_signal(self.stop_signal)
        try:
            self.popen.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(STOP_WITHIN_S)

    def written(self) -> bytes:
        """Return what it has written to its log so far."""
        return self.log.read_bytes()[self._log_from :]

    def last_lines(self, count: int = 5) -> str:
        """Return the end of its log on one line."""
        return last_lines(self.log, count)


def helper_child(  # noqa: PLR0913, PLR0917 - what a process is made of
    owner: Owner,
    run: Path,
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> Child:
    """Start a process of a run on this machine, that logs into the run's folder."""
    log = run / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    return Child(name, argv, base_environment(owner) | dict(environment), log=log, folder=folder)


def why_not_ready(
    ended: Callable[[], int | None], ready: Callable[[], bool], within_s: float
) -> str | None:
    """Wait until what was started says that it is ready; return None, or why it is not.

    Args:
        ended: returns the exit code of one that has ended.
        ready: asks it.
        within_s: seconds.
    """

    def settled() -> str | bool:
        # Asked first: if it has ended, what answers in its place is somebody else.
        if (code := ended()) is not None:
            return f"ended with exit code {code} while starting"
        return ready()

    answer = wait_for(settled, within_s)
    if isinstance(answer, str):
        return answer
    return None if answer else f"was not ready within {within_s:g} s"


def ends_well(
    argv: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> bool:
    """Run a command to its end; return whether it ended with 0, in time."""
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=STOP_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def last_lines(log: Path, count: int = 5) -> str:
    """Return the last non-empty lines of a log, joined by `` | ``."""
    try:
        said = read_bytes(log)
    except OSError:
        return "no log"
    return last_of(said, count)


def last_of(said: bytes, count: int = 5) -> str:
    """Return the same of what was written into a log."""
    text = said.decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "empty log"


def base_environment(owner: Owner) -> dict[str, str]:
    """Return the little that started processes get of the harness's own environment."""
    return {"PYTHONUNBUFFERED": "1", **isolation.environment(), MARK: owner.mark}

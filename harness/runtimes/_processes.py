"""Processes of a run: started with a mark, supervised, and found again after a crash.

Every process started here carries its owner's mark; see ``harness.ownership``.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.errors import ServiceError, UnavailableError
from harness.ownership import MARK, Owner, start_ticks
from harness.site import Exit, Incarnation

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
UNPRIVILEGED_USER = "nobody"
STOP_WITHIN_S = 10.0
READY_POLL_S = 0.05


def marked() -> Iterator[tuple[psutil.Process, Owner]]:
    """Yield every process on this machine that carries a mark and that we may read."""
    for process in psutil.process_iter():
        try:
            owner = Owner.parse(process.environ().get(MARK, ""))
        except (psutil.Error, OSError):
            continue
        if owner is not None and process.pid != os.getpid():
            yield process, owner


def kill_marked(owner: Owner) -> list[str]:
    """Kill what still carries the owner's mark; return a line for each process."""
    killed = []
    # A process that forks while it is being looked for needs a second look.
    for _ in range(5):
        found = [process for process, of in marked() if of == owner]
        if not found:
            break
        for process in found:
            line = _kill(process)
            if line:
                killed.append(line)
        psutil.wait_procs(found, timeout=5)
    return killed


def _kill(process: psutil.Process) -> str:
    try:
        name = process.name()
        # psutil compares the start time first, so a reused pid is never hit.
        process.kill()
    except psutil.NoSuchProcess:
        return ""
    return f"process {process.pid} ({name})"


@dataclass(frozen=True, slots=True)
class Account:
    """Who a process runs as: None leaves it as it is."""

    user: int | None = None
    group: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """Return the supplementary groups to set."""
        return None if self.user is None else []

    def own(self, folder: Path) -> None:
        """Give a folder to this account."""
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group)


PLAIN = Account()


def account(unprivileged: bool) -> Account:
    """Return the account for a server; root steps down for one that refuses root."""
    if not unprivileged or os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise UnavailableError(
            f"this machine has no user {UNPRIVILEGED_USER!r} to run PostgreSQL as; "
            "create it, or run as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


class Child:
    """One started process, in a session of its own, logging to a file."""

    def __init__(  # noqa: PLR0913 - what a process is made of
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: Path,
        who: Account = PLAIN,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.stop_signal: int = signal.SIGTERM
        with log.open("ab") as sink:
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
        self.start_ticks = start_ticks(self.pid)
        self.started_ns = time.time_ns()
        self.ready_s = 0.0

    @property
    def life(self) -> Incarnation:
        """Return its life: a process has one."""
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
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            # Asked first: if it has ended, whoever answers in its place is somebody else.
            if self.poll() is not None:
                code = self.poll()
                return f"ended with exit code {code} while starting: {self.last_lines()}"
            if ready():
                self.ready_s = (time.time_ns() - self.started_ns) / 1e9
                return None
            time.sleep(READY_POLL_S)
        return f"was not ready within {within_s:g} s: {self.last_lines()}"

    def terminate(self) -> None:
        """Ask it to end, and make it after ``STOP_WITHIN_S``."""
        if self.popen.poll() is None:
            self.popen.send_signal(self.stop_signal)
        try:
            self.popen.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(STOP_WITHIN_S)

    def last_lines(self, count: int = 5) -> str:
        """Return the end of its log on one line."""
        return last_lines(self.log, count)


def helper_child(
    owner: Owner, run: Path, name: str, argv: Sequence[str], environment: Mapping[str, str]
) -> Child:
    """Start a process of a run on this machine, that logs into the run's folder."""
    log = run / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    return Child(name, argv, base_environment(owner) | dict(environment), log=log)


def last_lines(log: Path, count: int = 5) -> str:
    """Return the last non-empty lines of a log, joined by `` | ``."""
    try:
        said = log.read_bytes()
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
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"PYTHONUNBUFFERED": "1", **environment, MARK: owner.mark}


def run_to_end(
    argv: Sequence[str], environment: Mapping[str, str], who: Account, folder: Path
) -> None:
    """Run a command to its end.

    Raises:
        ServiceError: it failed or took more than a minute; the message ends with the
            last lines of its output.
    """
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            cwd=folder,
            start_new_session=True,
            user=who.user,
            group=who.group,
            extra_groups=who.groups,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{name} did not end within 60 s") from None
    if done.returncode != 0:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise ServiceError(f"{name} failed with exit code {done.returncode}: {tail}")

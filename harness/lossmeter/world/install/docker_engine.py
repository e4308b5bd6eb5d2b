"""Installs and starts a Docker engine where there is none, for ``make docker-engine``.

Only as root on Debian or Ubuntu; elsewhere it says what to do. With ``--stop`` it ends the
engine that it started, and no other. A line per step goes to standard error.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lossmeter.errors import ExitCode, HarnessError, UnavailableError
from lossmeter.world import programs
from lossmeter.world.install import debian
from lossmeter.world.install.cache import cache_root
from lossmeter.world.isolation import download_environment
from lossmeter.world.ownership import start_ticks
from lossmeter.world.runtimes.docker import RUNTIME
from lossmeter.world.waiting import wait_for

PACKAGES = ("docker.io", "iptables")
READY_S = 60.0
STOP_S = 30.0
SYSTEMD = Path("/run/systemd/system")


def main(arguments: Sequence[str]) -> int:
    """Bring an engine up, or end the one that was, and return the exit code."""
    try:
        if list(arguments) == ["--stop"]:
            _stop()
        elif arguments:
            _say(f"error: {' '.join(arguments)!r} is not known; --stop is")
            return ExitCode.USAGE
        else:
            _bring_up()
    except HarnessError as error:
        _say(f"error: {error}")
        return error.exit_code
    return ExitCode.WITHIN_BUDGET


def _bring_up() -> None:
    if RUNTIME.unavailable() is None:
        _say("a Docker engine answers already")
        return
    if os.geteuid() != 0:
        raise UnavailableError(
            f"{RUNTIME.unavailable()}; only root can install and start one: run this as root, "
            "or ask whoever administers this machine"
        )
    if shutil.which("dockerd") is None:
        _install()
    _start()
    _wait()


def _install() -> None:
    if not debian.has_packages():
        raise UnavailableError(
            "this machine is neither Debian nor Ubuntu; install a Docker engine as its maker "
            "describes, start it, and everything else comes by itself"
        )
    _say(f"installing {' and '.join(PACKAGES)}")
    debian.install(PACKAGES, _say)


def _start() -> None:
    if SYSTEMD.exists():
        _say("starting the service docker")
        # Whether it did is seen by asking the engine.
        programs.run(("systemctl", "start", "docker"), READY_S)
        return
    _say("starting dockerd")
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    # A pid file of an earlier boot may name somebody else's process now.
    _pid_file().unlink(missing_ok=True)
    _log().unlink(missing_ok=True)
    command = ("dockerd", "--pidfile", str(folder / "dockerd.pid"))
    # Images are pulled by the engine itself.
    process = programs.start(command, _log(), download_environment())
    _pid_file().write_text(f"{process.pid} {start_ticks(process.pid)}", encoding="ascii")


def _wait() -> None:
    begin = time.monotonic()
    if not wait_for(lambda: RUNTIME.unavailable() is None, READY_S, 0.1):
        why, log = RUNTIME.unavailable(), programs.last_lines(_log())
        raise UnavailableError(f"the engine was not ready within {READY_S:g} s: {why}: {log}")
    _say(f"the Docker engine is ready after {time.monotonic() - begin:.1f} s")


def _stop() -> None:
    pid, ticks = _started()
    if not pid or start_ticks(pid) != ticks:
        _say("no engine runs that was started here")
        return
    os.kill(pid, signal.SIGTERM)
    if not wait_for(lambda: start_ticks(pid) != ticks, STOP_S, 0.1):
        raise UnavailableError(f"dockerd, process {pid}, did not end within {STOP_S:g} s")
    _pid_file().unlink(missing_ok=True)
    _say("the Docker engine is stopped")


def _started() -> tuple[int, int]:
    try:
        pid, ticks = _pid_file().read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0, 0
    return int(pid), int(ticks)


def _folder() -> Path:
    return cache_root() / "docker-engine"


def _pid_file() -> Path:
    return _folder() / "started"


def _log() -> Path:
    return _folder() / "dockerd.log"


def _say(line: str) -> None:
    sys.stderr.write(f"docker engine: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

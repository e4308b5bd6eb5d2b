"""Other programs, run to their end: in an environment of their own, bounded in time."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmeter.errors import HarnessError
from lossmeter.record.files import read_text
from lossmeter.world import isolation
from lossmeter.world.ownership import inherited_mark

# Of what a program wrote, so many lines go into a sentence.
LINES = 5


@dataclass(frozen=True, slots=True)
class UserAccount:
    """Who a program runs as; None leaves it as it is."""

    user: int | None = None
    group: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """Return the supplementary groups to set."""
        return None if self.user is None else []


SAME = UserAccount()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        within_s: the seconds that it was given.
        code: its exit code; None where it was killed since it did not end in time.
        out, err: what it wrote; bytes that are not UTF-8 are replaced.
    """

    name: str
    within_s: float
    code: int | None
    out: str = ""
    err: str = ""

    @property
    def why(self) -> str | None:
        """Return how it failed, to follow ``NAME``; None when its exit code is 0."""
        if self.code is None:
            return f"did not end within {self.within_s:g} s"
        if self.code == 0:
            return None
        return f"failed with exit code {self.code}: {self.tail() or 'it wrote nothing'}"

    def tail(self, lines: int = LINES) -> str:
        """Return the last lines that it wrote, joined by `` | ``."""
        said = [line.strip() for line in (self.out + self.err).splitlines() if line.strip()]
        return " | ".join(said[-lines:])

    def checked(self, error: type[HarnessError], what: str = "", advice: str = "") -> str:
        """Return what it wrote to its output.

        Raises:
            HarnessError: of the kind ``error``, when it failed.
        """
        if (why := self.why) is not None:
            start = f"{what}, " if what else ""
            raise error(f"{start}{self.name} {why}{f'; {advice}' if advice else ''}")
        return self.out


def run(  # noqa: PLR0913 - what a program is run with
    argv: Sequence[str],
    within_s: float,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    who: UserAccount = SAME,
    name: str = "",
    text: str | None = None,
) -> Ended:
    """Run a program that is asked nothing, and return how it ended.

    Args:
        argv: the program and its arguments.
        within_s: seconds after which it is killed.
        environment: all that it gets; ``isolation.environment()`` where none is given.
        folder: where it runs.
        who: who it runs as.
        name: what messages call it; the file's own name where none is given.
        text: what it reads on standard input; None for nothing.

    Raises:
        OSError: it cannot be started.
    """
    called = name or Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            env=_given(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL if text is None else None,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=within_s,
            check=False,
            user=who.user,
            group=who.group,
            extra_groups=who.groups,
        )
    except subprocess.TimeoutExpired:
        return Ended(called, within_s, None)
    return Ended(called, within_s, done.returncode, done.stdout, done.stderr)


def run_heard(  # noqa: PLR0913 - what a program is run with
    argv: Sequence[str],
    within_s: float,
    hear: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    name: str = "",
) -> Ended:
    """Run a program as ``run`` does, and pass on each line that it writes when it comes.

    Returns:
        How it ended; ``out`` has both of its streams.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        argv,
        env=_given(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    said: list[str] = []
    late = _Late(process)
    timer = threading.Timer(within_s, late.end)
    timer.start()
    with process:
        try:
            for line in process.stdout or ():
                said.append(line)
                hear(line)
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            timer.cancel()
    code = None if late.ended else process.returncode
    return Ended(name or Path(argv[0]).name, within_s, code, "".join(said))


@dataclass(slots=True)
class _Late:
    """Ends a program when its time is up, and knows that it did."""

    process: subprocess.Popen[str]
    ended: bool = False

    def end(self) -> None:
        self.ended = True
        self.process.kill()


def start(
    argv: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that outlives the call, in a session of its own, and append to its log.

    Raises:
        OSError: it cannot be started.
    """
    with log.open("ab") as sink:
        return subprocess.Popen(
            argv,
            env=_given(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _given(environment: Mapping[str, str] | None) -> dict[str, str]:
    given = isolation.environment() if environment is None else environment
    return inherited_mark() | dict(given)


def follow(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program that speaks to the caller's terminal, and return its exit code."""
    return subprocess.run(argv, env=_given(environment), check=False).returncode


def last_lines(log: Path, lines: int = LINES) -> str:
    """Return the end of a log, joined by `` | ``; ``it logged nothing`` where there is none."""
    said = text_of(log).splitlines()
    return " | ".join(line.strip() for line in said[-lines:]) or "it logged nothing"


def text_of(log: Path) -> str:
    """Return what a log says; nothing where it cannot be read, or is no regular file."""
    try:
        return read_text(log)
    except OSError:
        return ""

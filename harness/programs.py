"""Other programs, run to their end with what they said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code; None where it was killed since it did not end in time.
        out, err: what it wrote.
    """

    code: int | None
    out: str = ""
    err: str = ""

    def tail(self, lines: int) -> str:
        """Return the last lines of all that it wrote."""
        return "\n".join((self.out + self.err).strip().splitlines()[-lines:])


def run(
    argv: Sequence[str],
    within_s: float,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Ended:
    """Run a program that is asked nothing; its end is told, whatever it is.

    Raises:
        OSError: it cannot be started.
    """
    try:
        done = subprocess.run(
            argv,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(None)
    return Ended(done.returncode, done.stdout, done.stderr)

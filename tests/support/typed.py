"""Types a command as a user does, within the test's own process."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

import pytest

from lossmeter import cli
from lossmeter.commands._interrupts import INTERRUPTS
from lossmeter.world import ownership


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Typed:
    """Run a command that starts nothing, and return what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lossmeter", *arguments])
        # The suite's process is not the program's: it keeps no orphans of others.
        patch.setattr(ownership._Program, "ours", False)
        # Nor does it end with the command.
        patch.setattr(cli, "ending", lambda _: None)
        handlers = {number: signal.getsignal(number) for number in INTERRUPTS}
        try:
            with pytest.raises(SystemExit) as left:
                cli.main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    out, err = capsys.readouterr()
    return Typed(int(left.value.code or 0), out, err)

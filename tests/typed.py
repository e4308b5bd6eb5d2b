"""Types a command as a user does, within the test's own process."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from harness import cli


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Typed:
    """Run a command that starts nothing, and return what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
    out, err = capsys.readouterr()
    return Typed(int(left.value.code or 0), out, err)

"""Brings the cluster up for ``make kubernetes``; with ``--down`` removes it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lossmeter.errors import ExitCode, HarnessError
from lossmeter.world.install.kubernetes.cluster import alone, bring_up, take_down
from lossmeter.world.install.kubernetes.words import say


def main(arguments: Sequence[str]) -> int:
    """Do what was asked and return the exit code."""
    try:
        if list(arguments) == ["--down"]:
            with alone():
                take_down()
        elif arguments:
            say(f"error: {' '.join(arguments)!r} is not known; --down is")
            return ExitCode.USAGE
        else:
            with alone():
                bring_up()
    except HarnessError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say(
            "interrupted; `python -m lossmeter.world.install.kubernetes --down` removes what was "
            "started"
        )
        return ExitCode.INTERRUPTED
    return ExitCode.WITHIN_BUDGET


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

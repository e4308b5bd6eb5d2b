"""What the user is given."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Tell one step on standard error."""
    sys.stderr.write(f"kubernetes: {line}\n")
    sys.stderr.flush()

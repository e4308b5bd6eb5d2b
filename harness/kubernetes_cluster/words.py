"""What the user is told."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Tell one step on standard error."""
    sys.stderr.write(f"kubernetes: {line}\n")
    sys.stderr.flush()

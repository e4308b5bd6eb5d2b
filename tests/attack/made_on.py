"""What a table of an attack was made with."""

from __future__ import annotations

from lossmeter.run.environment import made_with


def made_on() -> list[str]:
    """Return the last lines of the table: the code, and the machine."""
    return ["", f"Made with {made_with()}."]

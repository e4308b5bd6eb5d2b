"""Calls a command as a function, and sees how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer


def ended_with(command: Callable[..., object], **given: object) -> int:
    """Return the exit code that a command ends with."""
    with pytest.raises(typer.Exit) as ended:
        command(**given)
    return ended.value.exit_code

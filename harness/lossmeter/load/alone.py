"""Starts Locust away from the caller's files: the load is what the plan says, and that alone.

Locust takes settings from ``locust.conf`` and ``pyproject.toml`` in the working folder and
from ``.locust.conf`` in the home. So both are the folder of the run, which has neither.
"""

from __future__ import annotations

import os
from pathlib import Path

from lossmeter.load.plan import FOLDER_VARIABLE, PLAN_VARIABLE


def main() -> None:
    """Become Locust, in the folder that gets the journals."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else Path(os.environ[PLAN_VARIABLE]).parent
    os.chdir(folder)
    os.environ["HOME"] = str(folder)
    # Locust patches the process when it is imported.
    from locust.main import main as locust  # noqa: PLC0415

    locust()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

"""What tests of several rooms begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.judged_runs import Run


@pytest.fixture
def a_run(tmp_path: Path) -> Run:
    """Return a run that passes, to be altered and then judged."""
    return Run(tmp_path)

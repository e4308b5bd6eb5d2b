"""All tests; a few that failed side by side are run once more, each alone, and both are printed.

    python -m tests.support.suite [ARGUMENTS OF PYTEST]

Three tests at once share two processors. Where one of them has to wait, the harness under test
says, rightly, that it was starved, and its run is inconclusive. So a failure is looked at once
more with the machine to itself, as a run is that was spoilt beside another. What fails again has
failed; and many failures are no chance: they are not looked at twice.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# More at a time are not the odd starved one; and each may take its five minutes.
MOST_AGAIN = 8


class Failures:
    """Keeps the ids of the tests that failed, and the folder from which pytest names them."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.root = Path()

    def pytest_configure(self, config: pytest.Config) -> None:
        self.root = config.rootpath

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.ids[report.nodeid] = None


def suite(arguments: list[str]) -> int:
    """Run pytest with these arguments, and what failed once more; return pytest's exit code."""
    failures = Failures()
    code = int(pytest.main(arguments, plugins=[failures]))
    failed = list(failures.ids)
    if code != pytest.ExitCode.TESTS_FAILED or not 0 < len(failed) <= MOST_AGAIN:
        return code
    said = f"{len(failed)} failed beside others; once more, one after another:"
    sys.stdout.write("\n  ".join([f"\n{said}", *failed]) + "\n")
    sys.stdout.flush()
    again = [sys.executable, "-m", "pytest", "-n", "0", *failed]
    return subprocess.run(again, cwd=failures.root, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(suite(sys.argv[1:]))

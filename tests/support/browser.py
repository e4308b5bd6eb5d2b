"""A real browser for the tests of the pages: found, started without a window, installed.

``python -m tests.support.browser`` installs it where that can be done: as root on Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lossmeter.world.install import debian
from tests.support.sites import CI

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = "no Chromium is installed; on Debian: apt-get install chromium, or make browser as root"
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--allow-file-access-from-files"),
)
# Blink's number for a dark scheme, as a person's own settings would say it.
DARK = "--blink-settings=preferredColorScheme=0"


def found() -> str | None:
    """Return the browser's path, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def browser() -> str:
    """Return the browser's path; in CI a missing one fails, for a skip would hide it."""
    path = found()
    if path is None and not os.environ.get(CI):
        pytest.skip(MISSING)
    assert path is not None, MISSING
    return path


def dom(page: Path, *, dark: bool = False) -> str:
    """Return a page as the browser understood it, after its scripts ran."""
    return _browse(page, "--dump-dom", "--virtual-time-budget=5000", *_scheme(dark=dark))


def picture(page: Path, file: Path, width_px: int, height_px: int, *, dark: bool = False) -> None:
    """Save what a page looks like."""
    size = f"--window-size={width_px},{height_px}"
    _browse(page, f"--screenshot={file}", size, *_scheme(dark=dark))


def _scheme(*, dark: bool) -> list[str]:
    return [DARK] if dark else []


def _browse(page: Path, *options: str) -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [browser(), *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def install() -> int:
    """Install a browser unless there is one; return the exit code."""
    if found() is not None:
        print(f"browser: {found()}")  # noqa: T201
        return 0
    if not debian.can_install():
        print(MISSING, file=sys.stderr)  # noqa: T201
        return 4
    debian.install(["chromium"], lambda line: print(f"browser: {line}"))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(install())

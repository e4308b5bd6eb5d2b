"""The package as others have it: the built wheel in an environment of its own."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def do(*argv: str | Path, cwd: Path, code: int = 0, **more: str) -> str:
    """Run a program to its end and return all that it wrote."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "LOSSMETER_R"))
    }
    done = subprocess.run(
        [str(each) for each in argv],
        cwd=cwd,
        env=environment | {"COLUMNS": "200"} | more,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def built(folder: Path) -> Path:
    """Build the wheel."""
    do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment_of(wheel: Path, folder: Path, python: str = sys.executable) -> Path:
    """Make a virtual environment with the wheel, and with what this one's package needs."""
    uv = Path(sys.executable).with_name("uv")
    do(uv, "venv", "--quiet", "--python", python, folder, cwd=ROOT)
    inside = folder / "bin" / "python"
    do(uv, "pip", "install", "--python", inside, "--no-deps", "--offline", wheel, cwd=ROOT)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path in such a file brings what lies there, and not what that place itself points to:
    # this project, as it is installed for its own development.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


def python_for_everybody() -> str | None:
    """Return an interpreter of this version that a user without rights may start, or None."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = str(Path(sys.executable).resolve())
    for each in (own, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        # Not by setpriv itself, which still has root's rights when it starts a program.
        started = as_nobody("sh", "-c", 'exec "$0" -c ""', each)
        if subprocess.run(started, capture_output=True, check=False).returncode == 0:
            return each
    return None


def as_nobody(*argv: str | Path) -> list[str]:
    """Return a command that is run by a user with neither rights nor a home; root's to give."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *map(str, argv)]

"""What an installation takes on disk: the package alone, and what each extra adds.

Each is installed from the built wheel into a virtual environment of its own, with bytecode, as
pip does it. Counted are the bytes of all files; file systems that give out blocks of 4 KiB
take a tenth more.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.report import Report, Row, at_most
from lossmeter.plugins import EXTRAS

NAME = "install"
MOST_MB = 150
ROOT = Path(__file__).resolve().parents[1]
UV = str(Path(sys.executable).with_name("uv"))


def run(rounds: int, say: Callable[[str], None]) -> Report:
    """Install the package alone, with each extra, and with all; sizes do not vary, so once."""
    del rounds
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = built(place)
        sizes: dict[str, float] = {}
        for extra in ("", *EXTRAS, "all"):
            say(f"installing lossmeter with {extra or 'nothing more'}")
            sizes[extra] = _installed_mb(wheel, extra, place / "venv")
    alone = sizes[""]
    rows = [Row("lossmeter", "installed alone", round(alone, 1), "MB")]
    rows += [
        Row(f"with {extra}", "adds", round(size - alone, 1), "MB")
        for extra, size in sizes.items()
        if extra
    ]
    return Report(
        NAME,
        "What an installation takes on disk",
        f"Python {platform.python_version()}, from the built wheel, with bytecode. Extras share "
        "packages, so several together add less than their sum.",
        1,
        rows,
        [at_most("MB of `pip install lossmeter`", round(alone, 1), MOST_MB)],
    )


def built(folder: Path) -> Path:
    """Build the wheel into a folder."""
    do([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_into(folder: Path, python: str, *wanted: str) -> None:
    """Make a virtual environment anew with some packages, in the versions of the lock file."""
    do([UV, "venv", "--quiet", "--clear", "--python", python, str(folder)])
    into = ("pip", "install", "--quiet", "--system-certs", "--compile-bytecode", "--python")
    inside = str(folder / "bin" / "python")
    do([UV, *into, inside, "--constraint", str(pins(folder.parent)), *wanted])


def _installed_mb(wheel: Path, extra: str, folder: Path) -> float:
    """Install into a new environment and return the megabytes (10**6 bytes) of its packages."""
    given = f"lossmeter[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    install_into(folder, sys.executable, given)
    (packages,) = folder.glob("lib/python*/site-packages")
    return sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6


def pins(folder: Path) -> Path:
    """Return the versions of the lock file without hashes, which the own wheel has none of."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = folder / "pins.txt"
    named = [line.rstrip("\\ ") for line in lines if "==" in line]
    pins.write_text("\n".join(named), "utf-8")
    return pins


def do(command: list[str], folder: Path = ROOT, programs: Path | None = None) -> None:
    """Run a command to its end.

    Raises:
        RuntimeError: its exit code is not 0; says what it wrote.
    """
    path = os.pathsep.join([str(programs), os.environ["PATH"]]) if programs else os.environ["PATH"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        )

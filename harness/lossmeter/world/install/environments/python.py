"""A virtual environment with the packages of a file of requirements, by uv, each by its hash."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.world import isolation, programs
from lossmeter.world.install import cache
from lossmeter.world.install.announced import Sizes
from lossmeter.world.install.progress import told
from lossmeter.world.service import Recipe

INSIDE = {"python": "/opt/environment/bin/python"}
_IMAGE = Path(__file__).with_name("images") / "python"
_STEP_S = 600.0
_NEEDS_MIB = 300
_ADVICE = "check the file, and how this machine reaches the package index"


def bring(lock: Path, where: str, say: Callable[[str], None]) -> dict[str, str]:
    """Return ``python``, the interpreter of the environment.

    Raises:
        UnavailableError: there is no uv, or a package could not be had or has another hash.
    """
    made_from = f"{platform.python_version()} {platform.machine()} ".encode() + lock.read_bytes()
    version = hashlib.sha256(made_from).hexdigest()[:12]

    def build(to: Path) -> None:
        say(f"{where}: installing the Python packages of {lock.name}, once")
        uv = _uv(where)
        # It is moved into the cache when it is whole.
        _run((uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(to)), where)
        at = ("--python", str(to / "bin" / "python"), "--link-mode", "copy")
        # What runs in it must not write into it.
        how = ("--require-hashes", "--system-certs", "--compile-bytecode")
        sizes = Sizes()
        with told(lambda took_s: f"{where}: {sizes.line(took_s)}", say):
            _run((uv, "pip", "install", *at, *how, "-r", str(lock)), where, sizes.hear)

    folder = cache.entry("python-environment", version, build, needs_mib=_NEEDS_MIB)
    return {"python": str(folder / "bin" / "python")}


def recipe(lock: Path, where: str, say: Callable[[str], None]) -> Recipe:
    """Return how the same packages get into an image, for the Python of its Debian."""
    del where, say
    version = hashlib.sha256(lock.read_bytes()).hexdigest()
    return Recipe("python-environment", _IMAGE, {"requirements.lock": lock}, version)


def _uv(where: str) -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise UnavailableError(f"{where}: uv is missing, which installs packages; pip install uv")
    return found


def _run(
    command: tuple[str, ...], where: str, hear: Callable[[str], None] = lambda _: None
) -> None:
    environment = isolation.pip_environment() | {"UV_NO_CONFIG": "1"}
    called = " ".join(("uv", *command[1:3]))
    ended = programs.run_heard(command, _STEP_S, hear, environment=environment, name=called)
    ended.checked(UnavailableError, where, _ADVICE)

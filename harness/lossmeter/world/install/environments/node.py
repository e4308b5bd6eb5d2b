"""A copy of a Node application beside the packages of its lock, by ``npm ci``."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.world import programs
from lossmeter.world.install import cache
from lossmeter.world.install.announced import Packages
from lossmeter.world.install.progress import bytes_below, told
from lossmeter.world.isolation import download_environment
from lossmeter.world.service import Recipe

INSIDE = {"node": "/opt/node", "app": "/opt/app"}
_IMAGE = Path(__file__).with_name("images") / "node"
_ANSWERS_S = 60.0
_STEP_S = 600.0
_NEEDS_MIB = 300
_MODULES = "node_modules"
# How npm and Node find packages and trust who serves them.
_REACHED_BY = ("npm_config_", "NPM_CONFIG_", "NODE_EXTRA_CA_CERTS")
_ADVICE = "check package-lock.json, and how this machine reaches the registry"


def bring(lock: Path, where: str, say: Callable[[str], None]) -> dict[str, str]:
    """Return ``node``, and ``app``, the folder of the copy.

    Raises:
        UnavailableError: there is no Node or npm, or a package could not be had or is another
            than the lock's.
    """
    node = _tool("node", where)
    _, app = _made(lock, where, say)
    return {"node": node, "app": str(app)}


def recipe(lock: Path, where: str, say: Callable[[str], None]) -> Recipe:
    """Return how the same get into an image: copies of this machine's Node, and of the packages.

    Raises:
        UnavailableError: as ``bring``.
    """
    node = Path(_tool("node", where)).resolve()
    packages, app = _made(lock, where, say)
    said = programs.run((str(node), "--version"), _ANSWERS_S, environment=_environment())
    of_node = said.checked(UnavailableError, where, "install Node 20 or newer").strip()
    extra = {"node": node, "app": app, f"app/{_MODULES}": packages / _MODULES}
    return Recipe("node-environment", _IMAGE, extra, f"{of_node} {packages.name} {app.name}")


def _made(lock: Path, where: str, say: Callable[[str], None]) -> tuple[Path, Path]:
    """Return the folder with the packages, and that of the copy, each made if it has to be."""
    wanted = (lock, lock.with_name("package.json"))

    def install(to: Path) -> None:
        npm = _tool("npm", where)
        say(f"{where}: installing the Node packages of {lock.name}, once")
        for file in wanted:
            shutil.copy(file, to)
        command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "http")
        come = Packages(lock, lambda: bytes_below(to))
        with told(lambda took_s: f"{where}: {come.line(took_s)}", say):
            ended = programs.run_heard(
                command, _STEP_S, come.hear, environment=_environment(), folder=to, name="npm ci"
            )
        ended.checked(UnavailableError, where, _ADVICE)

    packages = cache.entry("node-packages", _digest(wanted), install, needs_mib=_NEEDS_MIB)
    sources = [each for each in sorted(lock.parent.rglob("*")) if _is_source(lock.parent, each)]

    def copy(to: Path) -> None:
        for each in sources:
            (to / each.relative_to(lock.parent)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(each, to / each.relative_to(lock.parent))
        # Node looks for packages beside the file that imports them.
        (to / _MODULES).symlink_to(packages / _MODULES)

    return packages, cache.entry("node-application", _digest(sources), copy)


def _is_source(folder: Path, file: Path) -> bool:
    own = file.relative_to(folder).parts
    return file.is_file() and not any(part == _MODULES or part.startswith(".") for part in own)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _tool(name: str, where: str) -> str:
    if (found := shutil.which(name)) is None:
        raise UnavailableError(
            f"{where}: {name} is missing, and package-lock.json needs it; install Node 20 or newer "
            "with npm"
        )
    return found


def _environment() -> dict[str, str]:
    reached = {name: value for name, value in os.environ.items() if name.startswith(_REACHED_BY)}
    return download_environment() | reached

"""Programs that the load is measured beside: found on the PATH, or brought into the cache.

``python -m bench.tools`` brings them: k6 and vegeta are built by Go from the module proxy,
nginx and wrk are taken out of Debian's packages without installing them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lossmeter.world.install.cache import cache_root

GO = {"k6": "go.k6.io/k6@v1.8.1", "vegeta": "github.com/tsenart/vegeta/v12@v12.13.0"}
DEBIAN = {"nginx": ("nginx",), "wrk": ("wrk", "libluajit-5.1-2")}


def folder() -> Path:
    """Return where the programs lie."""
    return cache_root() / "bench-tools"


def found(name: str) -> str | None:
    """Return the path of a program, or None where it is missing."""
    places = [folder() / "bin", folder() / "usr/sbin", folder() / "usr/bin"]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    return shutil.which(name, path=path)


def environment() -> dict[str, str]:
    """Return the environment in which libraries from the cache are found."""
    libraries = str(folder() / "usr/lib/x86_64-linux-gnu")
    return os.environ | {"LD_LIBRARY_PATH": libraries}


def bring() -> None:
    """Bring what is missing."""
    (folder() / "bin").mkdir(parents=True, exist_ok=True)
    for name, module in GO.items():
        if found(name) is None:
            go = os.environ | {"GOBIN": str(folder() / "bin")}
            subprocess.run(["go", "install", module], check=True, env=go)
    wanted = [package for name in DEBIAN if found(name) is None for package in DEBIAN[name]]
    if wanted:
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["apt-get", "download", *wanted], check=True, cwd=place)
            for package in sorted(Path(place).glob("*.deb")):
                subprocess.run(["dpkg", "-x", str(package), str(folder())], check=True)


if __name__ == "__main__":
    bring()

"""The programs of the cluster, built from the modules that ``build/go.sum`` pins."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from lossmeter.world.install import cache
from lossmeter.world.install.go_modules import GoModules
from lossmeter.world.install.kubernetes.words import say
from lossmeter.world.install.progress import bytes_below, told

NAME = "kubernetes"
MODULES = GoModules(NAME, Path(__file__).with_name("build"), step_s=3600)
NEEDS_MIB = 5000
_TELL_EVERY_S = 15.0
_COMPONENT = "k8s.io/component-base/version"


def version() -> str:
    """Return the version of Kubernetes, e.g. ``1.34.4``."""
    return MODULES.version("k8s.io/kubernetes")


def programs() -> Path:
    """Return the folder with ``kubernetes`` and ``pause``, built unless it is in the cache.

    Raises:
        CacheError: they could not be built.
    """
    key = f"{version()}-{MODULES.fingerprint()}"
    if cache.find(NAME, key) is None:
        say(f"Kubernetes {version()} is built once on this machine; this takes some minutes")
    folder = cache.entry(NAME, key, _build, needs_mib=NEEDS_MIB)
    cache.discard(NAME, "[0-9]*", folder)
    return folder


def _build(to: Path) -> None:
    # Kept until the build is done, so that one that was interrupted goes on from there.
    kept = cache.cache_root() / "kubernetes-build"
    kept.mkdir(exist_ok=True)
    stamps = {
        "gitVersion": f"v{version()}",
        "gitMajor": version().split(".")[0],
        "gitMinor": version().split(".")[1],
        "gitTreeState": "clean",
    }
    stamp = " ".join(f"-X {_COMPONENT}.{name}={value}" for name, value in stamps.items())
    with MODULES.workshop(to, say, kept) as shop:
        say("downloading the modules")
        shop.download(say)
        say(f"compiling with {shop.go_version()}")
        with told(partial(_compiled, kept / "cache"), say, _TELL_EVERY_S):
            shop.build(".", to / "kubernetes", stamp)
            shop.build("./pause", to / "pause")
    shutil.rmtree(kept, ignore_errors=True)


def _compiled(cache_of_go: Path, took_s: float) -> str:
    return f"compiled {bytes_below(cache_of_go, '*-d') // 2**20} MiB after {took_s:.0f} s"

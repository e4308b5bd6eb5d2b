"""The programs of the cluster, built from the modules that ``build/go.sum`` pins."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import cache
from harness.go_modules import GoModules
from harness.kubernetes_cluster.words import say

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
        say("downloading the modules, 180 MB")
        shop.download()
        say(f"compiling with {shop.go_version()}")
        with _progress(kept / "cache"):
            shop.build(".", to / "kubernetes", stamp)
            shop.build("./pause", to / "pause")
    shutil.rmtree(kept, ignore_errors=True)


@contextmanager
def _progress(compiled: Path) -> Iterator[None]:
    """Tell from time to time how much is compiled."""
    over = threading.Event()
    begin = time.monotonic()

    def tell() -> None:
        while not over.wait(_TELL_EVERY_S):
            size = sum(f.stat().st_size for f in compiled.rglob("*-d") if f.is_file())
            say(f"compiled {size // 2**20} MiB after {time.monotonic() - begin:.0f} s")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

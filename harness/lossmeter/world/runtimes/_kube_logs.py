"""The logs of a run's containers, followed into its folder."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from lossmeter.world.runtimes._kube_access import core
from lossmeter.world.runtimes._kube_manifests import CONTAINER
from lossmeter.world.runtimes._kube_pods import PodContainer


class Logs:
    """Follows the log of each container into the run's folder.

    Args:
        namespace: that of the run.
        folder: where ``PART.log`` goes.
    """

    def __init__(self, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self._followed: dict[str, threading.Thread] = {}
        folder.mkdir(exist_ok=True)

    def follow(self, lifetime: PodContainer, name: str) -> None:
        """Begin with a lifetime, unless it is followed already."""
        if lifetime.id in self._followed:
            return
        file = self._folder / f"{name}.log"
        file.touch()
        thread = threading.Thread(target=self._copy, args=(lifetime, file), daemon=True)
        self._followed[lifetime.id] = thread
        thread.start()

    def wait(self, lifetime: str, timeout_s: float = 2.0) -> None:
        """Wait until the log of a lifetime that ended is there as a whole."""
        thread = self._followed.get(lifetime)
        if thread is not None:
            thread.join(timeout_s)

    def close(self) -> None:
        """Wait for the ends of logs that end."""
        for lifetime in list(self._followed):
            self.wait(lifetime, 1.0)

    def _copy(self, lifetime: PodContainer, file: Path) -> None:
        with contextlib.suppress(Exception), file.open("ab", buffering=0) as sink:
            response: Any = core().read_namespaced_pod_log(
                lifetime.pod,
                self._namespace,
                container=CONTAINER,
                follow=True,
                _preload_content=False,
            )
            for piece in response.stream(amt=None, decode_content=False):
                sink.write(piece)

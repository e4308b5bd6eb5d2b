"""Bringing images to the nodes: those that the Docker engine builds, and those of others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lossmeter.errors import ServiceError, UnavailableError
from lossmeter.plan.processes import USUAL_SIGNAL, Process
from lossmeter.plan.target import Target
from lossmeter.world import programs
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes._docker_engine import connect
from lossmeter.world.runtimes._docker_images import Images, replaced
from lossmeter.world.runtimes._kube_access import SOCKET
from lossmeter.world.service import Recipe, Service

if TYPE_CHECKING:
    import docker

LOAD = Path(__file__).with_name("images") / "load"
REGISTRY_VARIABLE = "LOSSMETER_REGISTRY"
_ANSWERS_S = 60.0
_CTR = ("ctr", "--address", str(SOCKET), "--namespace", "k8s.io", "images")


class NodeImages:
    """The images of a run, where the nodes find them.

    The cluster that ``make kubernetes`` started is given them. Another one pulls them: those
    that are named from wherever they are, and ours from ``LOSSMETER_REGISTRY``.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._engine: docker.DockerClient | None = None
        self._there: set[str] = set()
        self._registry = os.environ.get(REGISTRY_VARIABLE)
        self.pulled = bool(self._registry) or not access.here()

    def close(self) -> None:
        """Let the Docker engine go."""
        if self._engine is not None:
            self._engine.close()

    def server(self, service: Service) -> str:
        """Return the name by which nodes know the image of a server."""
        other = replaced(service.name)
        if other is not None and self.pulled:
            return other
        return self._bring(service.name, lambda images: images.server(service))

    def process(self, target: Target, process: Process) -> str:
        """Return the name by which nodes know the image of a process of a dispatcher."""
        named, asks = target.container_of(process).image, process.stop_signal
        if named is not None and self.pulled and asks == USUAL_SIGNAL:
            return named
        return self._bring(
            target.name, lambda images: images.stopped_by(images.process(target, process), asks)
        )

    def load(self) -> str:
        """Return the name by which nodes know the image of a load process."""
        recipe = Recipe("load", LOAD, {"lossmeter": LOAD.parents[3]})
        return self._bring("load processes", lambda images: images.build(recipe))

    def _bring(self, name: str, build: Callable[[Images], str]) -> str:
        if self.pulled and self._registry is None:
            raise UnavailableError(
                f"the nodes of context {access.context()!r} are other machines, and the image of "
                f"{name} is built on this one; name a registry for it in {REGISTRY_VARIABLE}, or "
                "a public image instead"
            )
        image = build(Images(self._docker, self._say))
        return self._push(image, self._registry) if self._registry else self._import(image)

    @property
    def _docker(self) -> docker.DockerClient:
        if self._engine is None:
            self._engine = connect()
        return self._engine

    def _push(self, image: str, registry: str) -> str:
        from docker.errors import APIError  # noqa: PLC0415 - heavy

        name = f"{registry.rstrip('/')}/{image}"
        repository, _, tag = name.rpartition(":")
        self._say(f"image {image}: pushing to {registry}")
        try:
            self._docker.images.get(image).tag(repository, tag)
            for line in self._docker.images.push(repository, tag, stream=True, decode=True):
                if "error" in line:
                    raise ServiceError(f"image {name} could not be pushed: {line['error']}")
        except APIError as error:
            raise ServiceError(f"image {name} could not be pushed: {error.explanation}") from None
        return name

    def _import(self, image: str) -> str:
        name = full_name(image)
        if not self._there:
            self._there = set(_run((*_CTR, "list", "-q")).split())
        if name not in self._there:
            self._say(f"image {image}: giving it to the cluster")
            self._hand_over(image)
            self._there.add(name)
        return name

    def _hand_over(self, image: str) -> None:
        with subprocess.Popen(
            (*_CTR, "import", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            if process.stdin is None or process.stderr is None:
                raise ServiceError("ctr takes no input")
            with suppress(BrokenPipeError):
                # By this name, for it may have others too.
                for piece in self._docker.api.get_image(image):
                    process.stdin.write(piece)
                process.stdin.close()
            said = process.stderr.read().decode(errors="replace")
        if process.returncode != 0:
            raise ServiceError(f"image {image} could not be given to containerd: {said.strip()}")


def full_name(image: str) -> str:
    """Return the name of an image as containerd spells it out."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _run(command: Sequence[str]) -> str:
    try:
        ended = programs.run(command, _ANSWERS_S)
    except OSError as error:
        raise ServiceError(f"ctr cannot be run: {error.strerror}") from None
    return ended.checked(ServiceError, "the cluster's containerd does not answer")

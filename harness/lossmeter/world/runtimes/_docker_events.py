"""The engine's own record of what happens to a run's containers, read while it happens.

The engine ends the stream silently when the connection breaks. A record with a gap proves
nothing, so a break is remembered for good.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lossmeter.errors import EvidenceError
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes._docker_engine import connect
from lossmeter.world.site import Event
from lossmeter.world.waiting import wait_for

if TYPE_CHECKING:
    import docker

RUN_LABEL = "lossmeter.run"
PART_LABEL = "lossmeter.part"
_HEARD_WITHIN_S = 5.0
_REPORTED = ("signal", "exitCode", "container", "name")


class EngineEvents:
    """Reads the event stream of one run from its construction until ``close``.

    Args:
        owners: whose containers to listen for.
    """

    def __init__(self, owners: Iterable[Owner]) -> None:
        self._client: docker.DockerClient = connect()
        self._lock = threading.Lock()
        self._heard: list[tuple[str, Event]] = []
        self._ended: dict[str, int] = {}
        self._closing = False
        self._broken = ""
        self._marks = {owner.mark for owner in owners}
        # Not filtered by label: a network's events carry none, and are given by the container.
        wanted = {"type": ["container", "network"]}
        self._stream = self._client.events(decode=True, filters=wanted)
        self._thread = threading.Thread(target=self._read, name="engine-events", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self._stream:
                self._note(event)
            why = "the engine ended it"
        except Exception as error:  # noqa: BLE001 - whatever broke it, it is broken
            why = f"{type(error).__name__}: {error}"
        with self._lock:
            if not self._closing:
                self._broken = why

    def _note(self, raw: Mapping[str, Any]) -> None:
        attributes: Mapping[str, str] = raw.get("Actor", {}).get("Attributes", {})
        action = str(raw.get("Action", ""))
        if raw.get("Type") == "container":
            if attributes.get(RUN_LABEL) not in self._marks or action.startswith(
                ("exec_", "health_")
            ):
                return
            part = attributes.get(PART_LABEL, "")
        else:
            part = attributes.get("container", "")
            action = f"network {action}"
        reported = {name: attributes[name] for name in _REPORTED if name in attributes}
        event = Event(int(raw["timeNano"]), action, reported)
        with self._lock:
            self._heard.append((part, event))
            if action == "die":
                self._ended[part] = int(attributes.get("exitCode", -1))
            elif action == "start":
                self._ended.pop(part, None)

    def of(self, part: str, container_id: str, since_ns: int) -> list[Event]:
        """Return what happened to one part of the run since then, oldest first.

        Raises:
            EvidenceError: the stream broke, so something may be missing.
        """
        with self._lock:
            if self._broken:
                raise EvidenceError(
                    f"the engine's event stream broke ({self._broken}), so what it says has a gap"
                )
            return [
                event
                for who, event in self._heard
                if who in {part, container_id} and event.at_ns >= since_ns
            ]

    def ended(self) -> dict[str, int]:
        """Return the exit codes of the parts that are down, by part, as heard so far."""
        with self._lock:
            return dict(self._ended)

    @property
    def broken(self) -> bool:
        """Return whether the stream broke."""
        with self._lock:
            return bool(self._broken)

    def wait_end(self, part: str, container_id: str, since_ns: int) -> Event | None:
        """Wait for the end of a part's lifetime; None when none is heard of in time."""

        def end() -> Event | None:
            heard = self.of(part, container_id, since_ns)
            return next((event for event in heard if event.action == "die"), None)

        # A stream that broke tells nothing more.
        with contextlib.suppress(EvidenceError):
            return wait_for(end, _HEARD_WITHIN_S, 0.002)
        return None

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._closing = True
        with contextlib.suppress(Exception):
            self._stream.close()
        self._thread.join(2)
        self._client.close()

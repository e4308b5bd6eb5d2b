"""Takes persisted events out of a target's store, as its file says."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lossmeter.errors import FaultError
from lossmeter.plan.target import Target
from lossmeter.record.arrays import Records
from lossmeter.world.interpolation import interpolate, reachable
from lossmeter.world.isolation import target_environment
from lossmeter.world.programs import run
from lossmeter.world.site import Endpoint, Removed
from lossmeter.world.stores import store_options

_WITHIN_S = 60.0


class Removal:
    """Reads a store and has events removed from it, both around every proxy.

    Args:
        target: whose ``persisted.remove`` is a command that is given a line
            ``PRODUCER SEQUENCE`` for each event.
        endpoints: its servers.
        shared: the folder that the target writes into; the command runs there.
    """

    def __init__(self, target: Target, endpoints: Mapping[str, Endpoint], shared: Path) -> None:
        self._target, self._shared = target, shared
        values = reachable(endpoints, proxied=False)
        self._values = values | {"python": sys.executable, "run_folder": str(shared)}

    def _put_in(self, text: str) -> str:
        return interpolate(text, self._values, self._target.name)

    def ids(self) -> list[tuple[int, int]]:
        """Return the events in the store, each once and in order."""
        found: set[tuple[int, int]] = set()

        def keep(rows: Records) -> None:
            found.update(zip(rows["producer"].tolist(), rows["sequence"].tolist(), strict=True))

        persisted = self._target.persisted
        store_options(self._target.name, persisted.table).open(self._put_in).read("rows", keep)
        return sorted(found)

    def remove(self, ids: Sequence[tuple[int, int]]) -> Removed:
        """Run the command and return how it ended."""
        command = [self._put_in(word) for word in self._target.persisted.remove]
        lines = "".join(f"{producer} {sequence}\n" for producer, sequence in ids)
        environment = target_environment(self._target.persisted.remove)
        try:
            ended = run(
                command, _WITHIN_S, environment=environment, folder=self._shared, text=lines
            )
        except OSError as error:
            raise FaultError(
                f"persisted.remove: {Path(command[0]).name} cannot be started: {error.strerror}"
            ) from None
        return Removed(ended.code == 0, f"{ended.name} {ended.why or 'ended with exit code 0'}")

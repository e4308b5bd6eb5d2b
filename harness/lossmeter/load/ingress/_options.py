"""What every kind of ingress has in common: its options, and the program that they mean."""

from __future__ import annotations

import json
import string
from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field

from lossmeter.plan.http import EVENT_FIELDS
from lossmeter.plan.kinds import Interpolate, filled
from lossmeter.plan.kinds import Options as Common
from lossmeter.world.beginnings import Beginning
from lossmeter.world.isolation import python_command

OPTIONS_VARIABLE = "LOSSMETER_INGRESS_OPTIONS"


class Options(Common, ABC):
    """The table ``[ingress]`` of one kind.

    Attributes:
        timeout_s: an event without an answer for so long is unknown.
        ready_s: within which the program must say that it is ready.
        folder: its working folder, beside the target file; empty for that folder itself.
        environment: variables, in which ``{redis.url}`` and the like are put in.
    """

    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    ready_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    folder: str = ""
    environment: dict[str, str] = Field(default_factory=dict)

    @abstractmethod
    def command(self, interpolate: Interpolate) -> list[str]:
        """Return the command of the program."""

    def began(self, interpolate: Interpolate) -> Beginning | None:
        """Ask the broker since when it serves; None where it does not say."""
        del interpolate
        return None

    def variables(self, interpolate: Interpolate) -> dict[str, str]:
        """Return the variables that the program is given."""
        return {name: interpolate(value) for name, value in self.environment.items()}


class OwnOptions(Options):
    """A kind whose program comes with lossmeter, ``python -m lossmeter.load.ingress.KIND``."""

    def command(self, interpolate: Interpolate) -> list[str]:
        """Return the command of the program."""
        del interpolate
        return list(python_command(type(self).__module__))

    def variables(self, interpolate: Interpolate) -> dict[str, str]:
        """Return its options, with addresses put in."""
        options = filled(self.model_dump(mode="json"), interpolate)
        return {OPTIONS_VARIABLE: json.dumps(options)}


def names_the_event(template: str) -> str:
    """Return a template for one event, checked.

    Raises:
        ValueError: it names something else, or does not carry the event's id.
    """
    parsed = string.Template(template)
    names = set(parsed.get_identifiers())
    if not parsed.is_valid() or names - set(EVENT_FIELDS):
        raise ValueError(f"{template!r} may use $producer, $sequence and $payload only")
    if missing := {"producer", "sequence"} - names:
        raise ValueError(
            f"{template!r} does not carry ${min(missing)}: no event could be found again"
        )
    return template

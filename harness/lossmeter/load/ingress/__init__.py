"""How producers hand events over where it is not by HTTP; one file a kind, found by looking.

Each kind is a program that the load process starts and speaks to by ``load.pipe``'s
protocol: the journal stays outside it, and an intent is on disk before an event is handed
over. A kind's file defines ``Options``, the model of its table in the target file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossmeter.load import ingress
from lossmeter.load.ingress._options import Options
from lossmeter.plan.kinds import parse


def options_of(target: str, table: Mapping[str, Any]) -> Options:
    """Return the checked options of a target's ``[ingress]``, which is not HTTP.

    Raises:
        UsageError: the kind does not exist, or does not take these options.
    """
    options: Options = parse(ingress, "ingress", target, table)
    return options

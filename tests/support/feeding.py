"""Feeding a schedule through one ingress, as a load process does."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any

import numpy as np
import pytest

from lossmeter.judge.ledger.reconcile import reconcile
from lossmeter.load.carrier import Carrier, Clock
from lossmeter.load.ingress import options_of
from lossmeter.load.plan import ENVIRONMENT_VARIABLE, Feeder, LoadPlan
from lossmeter.record.arrays import PAIR, ROW, Held, Operations
from lossmeter.record.journals import Journals, read_journals
from tests.support.answering import load_plan

EVENTS, RATE = 200, 400.0


@dataclass
class Feeding:
    """Feeds a schedule through one ingress."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def feed(
        self,
        table: dict[str, Any],
        addresses: dict[str, str] | None = None,
        *,
        meanwhile: Callable[[Carrier], None] | None = None,
        events: int = EVENTS,
        folder: Path | None = None,
    ) -> Journals:
        """Carry the schedule out, by a program that runs in ``folder``; return its journal."""
        options = options_of("t", table)

        def interpolate(text: str) -> str:
            for name, value in ({"python": sys.executable} | (addresses or {})).items():
                text = text.replace(f"{{{name}}}", value)
            return text

        variables = options.variables(interpolate)
        self.monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(variables))
        plan = LoadPlan(
            **vars_of(load_plan(self.folder, 1, RATE, events / RATE, 3))
            | {
                "timeout_s": options.timeout_s,
                "feeder": Feeder(options.command(interpolate), str(folder or self.folder)),
            }
        )
        clock = Clock()
        carrier = Carrier(plan, 0, clock, clock.now_ns() + 2_000_000_000)
        if meanwhile is not None:
            threading.Thread(target=meanwhile, args=(carrier,), daemon=True).start()
        whole = carrier.carry_out(
            lambda fd, seconds: select([fd], [], [], seconds) and None, lambda: True
        )
        assert whole
        journals = read_journals(self.folder)
        assert journals.complete, journals.why_incomplete
        assert journals.events == events
        return journals

    def program(self, source: str, **options: Any) -> dict[str, Any]:
        """Return the table of a program of the test's own."""
        path = self.folder / "program.py"
        path.write_text(HEAD + source, encoding="utf-8")
        return {"kind": "program", "command": ["{python}", "-u", str(path)], **options}


def vars_of(plan: LoadPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in LoadPlan.__dataclass_fields__}


def statuses(journals: Journals) -> Counter[str]:
    """Return how many events have which status by the ledger."""
    nothing = np.empty(0, PAIR)
    operations = Operations(journals.intents, journals.outcomes)
    counts = reconcile(operations, Held(np.empty(0, ROW), nothing, nothing)).counts
    return Counter(acked=counts.acked, refused=counts.refused, unknown=counts.unknown)


HEAD = """
import json, sys
def events():
    for line in sys.stdin:
        yield json.loads(line)
print("ready")
"""

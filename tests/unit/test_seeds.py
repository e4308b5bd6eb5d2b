"""All that is random comes from the one seed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lossmeter.faults._fault import choose
from lossmeter.load.schedule import payload, schedule
from lossmeter.plan.catalogue import Catalogue, cells

PROJECT = Path(__file__).resolve().parents[2]
RANDOM = re.compile(r"import random|from random|np\.random\.(?!default_rng\(\w|SeedSequence\(\[)")


# Which ports are free is the machine's affair, and the same ones twice would clash.
EXEMPT = {"harness/lossmeter/world/ports.py"}
FILES = sorted(str(p.relative_to(PROJECT)) for p in (PROJECT / "harness").rglob("*.py"))


@pytest.mark.parametrize("name", [name for name in FILES if name not in EXEMPT])
def test_nothing_draws_without_the_seed(name: str) -> None:
    path = PROJECT / name
    assert not RANDOM.search(path.read_text(encoding="utf-8"))


def _sent(seed: int, experiment: str) -> list[tuple[int, int, int, str]]:
    catalogue = Catalogue.here()
    cell = cells(catalogue, catalogue.experiment(experiment), [], [])[0]
    load = cell.variant.load
    phases = [(phase.rate_per_s, phase.duration_s) for phase in load.phases]
    return [
        (
            due.producer,
            due.sequence,
            due.due_ns,
            payload(seed, due.producer, due.sequence, load.payload_bytes),
        )
        for due in schedule(phases, load.producers)
    ]


@pytest.mark.parametrize("experiment", Catalogue.here().experiment_names())
def test_the_same_seed_gives_the_same_events_and_faults(experiment: str) -> None:
    assert _sent(7, experiment) == _sent(7, experiment)
    assert _sent(7, experiment) != _sent(8, experiment)
    catalogue = Catalogue.here()
    first, again = catalogue.experiment(experiment), catalogue.experiment(experiment)
    assert [v.faults for v in first.variants] == [v.faults for v in again.variants]
    for planned in (fault for variant in first.variants for fault in variant.faults):
        one, other = (choose(planned.fault, planned.parameters) for _ in range(2))
        assert one == other

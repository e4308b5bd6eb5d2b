"""`lossmeter check` keeps a person waiting for as short as it can, whatever the file allows."""

from __future__ import annotations

from pathlib import Path

from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.studies.checking import EXPERIMENT, READY_S, SETTLE_S, hurried

SEVERAL = """
name = "several"
summary = "a front, a worker that must have run for a while, and an ingress"
ack_level = "enqueued"
services = ["postgres"]
ingress = {kind = "program", command = ["feed"], ready_s = 60}
[[process]]
name = "front"
command = ["front", "{port}"]
ready_s = 90
[[process]]
name = "slow"
command = ["worker"]
ready_s = 90
health = {runs_s = 12}
[[process]]
name = "quick"
command = ["worker"]
ready_s = 3
[persisted]
query = "select producer, sequence from events"
"""


def test_each_process_and_the_ingress_are_given_less_time(tmp_path: Path) -> None:
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL)
    (cell,) = cells(Catalogue.here(), EXPERIMENT, [str(file)], [])
    target = hurried(cell).target
    assert [each.ready_s for each in target.process] == [READY_S, 13, 3]
    assert target.ingress is not None
    assert target.ingress["ready_s"] == READY_S
    assert target.persisted.settle_limit_s == SETTLE_S


def test_a_single_process_too() -> None:
    (cell,) = cells(Catalogue.here(), EXPERIMENT, ["channel"], [])
    target = hurried(cell).target
    assert target.start is not None
    assert target.start.ready_s == READY_S

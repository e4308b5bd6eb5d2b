"""What `make attack` does, in small: a few inputs and strikes, each the same for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lossmeter import faults
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.project import Project
from lossmeter.plugins import load, names_in
from lossmeter.run.admission import check
from lossmeter.world import runtimes
from tests.attack.fuzz_files import ROOT
from tests.attack.kill_cases import ALARM, CELLS, GENTLE, Case
from tests.attack.kills import available

pytestmark = pytest.mark.alone

INPUTS = 25
# Their cases strike early on, all gently, or all harshly.
GENTLY, HARSHLY = 174, 185


def script(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.attack.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_inputs_that_nobody_expects(tmp_path: Path) -> None:
    asked = ("--inputs", str(INPUTS), "--seed", "1", "--within-min", "8")
    script("fuzz", *asked, "--to", str(tmp_path))
    text = (tmp_path / "fuzz.md").read_text()
    assert f"{INPUTS} inputs, seed 1: 0 taken wrongly" in text


@pytest.mark.parametrize("seed", [GENTLY, HARSHLY])
def test_strikes_at_random_moments(tmp_path: Path, seed: int) -> None:
    assert available(), "the local runtime is always there"
    cases = [Case.choose(seed, number, ["local"]) for number in range(4)]
    assert all((case.kind in GENTLE) == (seed == GENTLY) for case in cases)
    asked = ("--kills", "1", "--seed", str(seed), "--fresh", "--runtime", "local")
    # What else runs on this machine has ports and processes of its own, but files beside ours.
    look = ("--look", "process", "--look", "port", "--to", str(tmp_path))
    script("kills", *asked, *look)
    seen = [json.loads(line) for line in (tmp_path / "kills.jsonl").read_text().splitlines()]
    assert sum(each["struck"] for each in seen) >= 2
    assert not any(each["left"] or each["unclean"] or each["wrong"] for each in seen)
    assert "0 left something" in (tmp_path / "kills.md").read_text().replace("\n", " ")


def test_a_seed_and_a_number_name_a_case_for_ever() -> None:
    up = [*CELLS]
    assert [Case.choose(3, n, up) for n in range(9)] == [Case.choose(3, n, up) for n in range(9)]
    assert len({Case.choose(3, n, up) for n in range(40)}) > 35


def test_every_fault_is_tried_wherever_it_can_be() -> None:
    catalogue = Catalogue(Project.of(ROOT))
    experiment = catalogue.experiment(str(ROOT / "tests" / "attack" / "short_faults.py"))
    every = [*cells(catalogue, experiment, ["channel", str(ROOT / ALARM[1])], [])]
    struck = {planned.fault for cell in every for planned in cell.variant.faults}
    # These two take a store of their own.
    assert {name.replace("_", "-") for name in names_in(faults)} - struck == {
        "webhook",
        "remove-rows",
    }
    for name in available():
        runtime, tried = load(runtimes, name, "runtime").RUNTIME, CELLS[name]
        possible = {cell.variant.name for cell in every if check(cell, runtime) is None}
        assert {fault for fault, _ in tried} >= possible
        targets = {target for _, target in tried}
        assert targets >= {"channel", "redis"}

"""The GitHub Action, each of its steps run as a shell runs it, in a repository of another name."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.installed import ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
BUDGETS = "[control.mine]\nmax_lost = 0\n"


class Runner:
    """Runs the steps of a composite action as GitHub's runner does, without what it downloads."""

    def __init__(self, repository: Path, path: str, given: Mapping[str, str]) -> None:
        self.repository, self.path = repository, path
        inputs = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
        self.known = {f"inputs.{name}": value for name, value in (inputs | dict(given)).items()}
        self.known |= {"runner.os": "Linux", "github.run_id": "7"}
        self.used: list[str] = []
        self.said = ""
        self.summary = repository.parent / "summary.md"

    def text(self, value: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: self.known[found[1]], value)

    def run(self, event: str) -> int:
        """Return the exit code of the first step that failed, or 0."""
        self.known["github.event_name"] = event
        self.summary.write_text("")
        for step in ACTION["runs"]["steps"]:
            if "if" in step and not self._holds(step["if"]):
                continue
            if "uses" in step:
                self._uses(step)
            elif code := self._runs(step):
                return code
        return 0

    def _holds(self, condition: str) -> bool:
        asked = re.fullmatch(r"\$\{\{ ([\w.]+) == '(\w+)' \}\}", condition)
        assert asked is not None
        return self.known[asked[1]] == asked[2]

    def _uses(self, step: dict[str, Any]) -> None:
        self.used.append(step["uses"].partition("@")[0])
        for pattern in self.text(step["with"]["path"]).splitlines():
            if self.used[-1] == "actions/upload-artifact":
                assert list(self.repository.glob(pattern.removeprefix("./"))), pattern

    def _runs(self, step: dict[str, Any]) -> int:
        output = self.repository.parent / "output"
        output.write_text("")
        named = {name: self.text(value) for name, value in step.get("env", {}).items()}
        environment = {"PATH": self.path, "HOME": os.environ["HOME"], **named}
        environment |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.summary)}
        environment |= {"GITHUB_ACTIONS": "true", "PIP_NO_INDEX": "1"}
        script = self.repository.parent / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            [*SHELL, script],
            cwd=self.repository / self.text(step.get("working-directory", ".")),
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            self.known[f"steps.{step['id']}.outputs.{name}"] = value
        self.said = f"{step['name']}: {done.stdout}{done.stderr}"
        return done.returncode


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository with an application and a target file of its own."""
    repository = tmp_path / "shop"
    targets = repository / "loss" / "targets"
    targets.mkdir(parents=True)
    (repository / "lossmeter.toml").write_text(
        'targets = "loss/targets"\nbudgets = "loss/budgets.toml"\nruns = "loss/results/runs"\n'
    )
    (repository / "loss" / "budgets.toml").write_text(BUDGETS)
    example = ROOT / "docs" / "examples"
    (repository / "dispatcher.py").write_text((example / "dispatcher.py").read_text())
    text = (example / "dispatcher.toml").read_text()
    (targets / "mine.toml").write_text(text.replace("docs/examples/dispatcher.py", "dispatcher.py"))
    return repository


def test_its_steps_run_in_a_repository_of_another_name(
    shop: Path, installed: Path, wheel: Path
) -> None:
    given = {"targets": "mine", "experiments": "control", "repeats": "1", "package": str(wheel)}
    given |= {"options": "--duration 1 --rate 50", "extras": "postgres"}
    path = os.pathsep.join([str(installed / "bin"), os.environ["PATH"]])
    runner = Runner(shop, path, given)

    assert runner.run("push") == 0, runner.said
    assert runner.known["steps.run.outputs.code"] == "0"
    assert "the base has no runs of these experiments yet" in runner.summary.read_text()
    assert "### Events lost: 1 pass" in runner.summary.read_text()
    assert len(list((shop / "loss" / "results" / "base").iterdir())) == 1
    assert "actions/cache/save" in runner.used

    # The branch that is to be merged may lose nothing, and this one's budget asks for more.
    for run in (shop / "loss" / "results" / "runs").iterdir():
        run.rename(shop.parent / run.name)
    (shop / "loss" / "budgets.toml").write_text(f"{BUDGETS}min_delivered = 1000\n")
    runner.used.clear()
    assert runner.run("pull_request") == 1, runner.said
    assert runner.known["steps.run.outputs.code"] == "1"
    changed = Path(runner.known["steps.changes.outputs.file"]).read_text()
    assert changed.startswith("<!-- lossmeter")
    assert "cannot tell</summary>" in changed
    assert re.search(r"control \(.*\) +\| mine +\| lost +\| +0 \| +0 \|", changed)
    assert changed in runner.summary.read_text()
    assert "actions/cache/save" not in runner.used

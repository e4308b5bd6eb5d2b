"""The pipelines in docs/ci: valid by the vendors' own schemas, of commands that there are."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import typer.main
import yaml

from lossmeter.cli import app
from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "docs" / "ci"
# Schemas that check-jsonschema carries, as SchemaStore publishes them.
SCHEMAS = {"github.yml": "vendor.github-workflows", "gitlab.yml": "vendor.gitlab-ci"}


def validated(file: Path, schema: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def commands(value: object) -> Iterator[str]:
    """Yield every command of a pipeline, wherever it stands."""
    if isinstance(value, list):
        for each in value:
            yield from commands(each)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "run" and isinstance(inner, str):
                yield from inner.splitlines()
            elif name in {"script", "before_script", "after_script"}:
                yield from inner
            else:
                yield from commands(inner)


def understood(command: str) -> int:
    """Hold a command to the Makefile and the command line; return how many harness calls it is.

    Raises:
        AssertionError, UsageError: make or the harness would refuse it.
    """
    words = shlex.split(command)
    lines = [command]
    if words[0] == "make":
        # As if nothing were built yet, make says all that it would do.
        asked = subprocess.run(
            ["make", "-n", "-o", ".venv/.ready", *words[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr
        lines = asked.stdout.splitlines()
        assert lines, f"{command} does nothing"
    # What follows || is make's own, for when the call fails.
    calls = [
        shlex.split(line.partition("||")[0])[1:]
        for line in lines
        if line.startswith(".venv/bin/lossmeter ")
    ]
    for call in calls:
        parsed(call)
    assert words[0] == "make" or calls, f"{command} is neither make nor the harness"
    return len(calls)


def parsed(call: Sequence[str]) -> None:
    """Parse a call of the harness without carrying it out, and look up what it names."""
    command, name, rest = typer.main.get_command(app), "harness", list(call)
    context = command.make_context(name, rest.copy())
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None, f"harness has no command {name}"
        context = command.make_context(name, list(rest), parent=context)
    catalogue = Catalogue(Project.of(ROOT))
    for experiment in context.params.get("experiment") or ():
        assert experiment == "all" or catalogue.experiment(experiment)
    for target in context.params.get("target") or ():
        assert catalogue.target(target)


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_valid_by_the_vendors_schema(name: str) -> None:
    done = validated(CI / name, SCHEMAS[name])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("github.yml", "runs-on:", "runs_on:"),
        ("github.yml", "  contents: read", "  contents: reed"),
        ("gitlab.yml", "when: always", "when: ever"),
    ],
)
def test_a_mistake_in_it_is_found(tmp_path: Path, name: str, old: str, new: str) -> None:
    text = (CI / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    assert validated(tmp_path / name, SCHEMAS[name]).returncode == 1


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_command_is_one_that_there_is(name: str) -> None:
    found = list(commands(yaml.safe_load((CI / name).read_text())))
    assert sum(understood(command) for command in found) >= 1
    assert any("--gate" in command for command in found)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("make experimentz", "No rule to make target"),
        ("make experiment-crahs", "did you mean 'crash'"),
        ("make experiment-crash TARGET=chanel", "did you mean 'channel'"),
        (".venv/bin/lossmeter gaet", "No such command"),
        (".venv/bin/lossmeter gate --max-age-min 1", "No such option"),
        ("pytest", "neither make nor the harness"),
    ],
)
def test_a_command_that_there_is_not_is_found(command: str, why: str) -> None:
    refusals = (AssertionError, UsageError, typer.BadParameter.__mro__[2])
    with pytest.raises(refusals) as refused:
        understood(command)
    assert why in (str(refused.value) or repr(refused.value))


def test_what_they_keep_is_what_a_gate_writes() -> None:
    for name in SCHEMAS:
        text = (CI / name).read_text()
        assert "results/junit.xml" in text
        assert "results/runs/*/report.html" in text

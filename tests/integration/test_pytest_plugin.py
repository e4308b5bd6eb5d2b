"""The fixture ``lossless_run`` in a suite of a team's own, which knows only the plugin."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lossmeter.world.runtimes._processes import marked

pytest_plugins = ["pytester"]

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

SUITE = """
def test_nothing_is_lost_in_a_crash(lossless_run):
    assert lossless_run("crash", target="ours.toml").lost == 0

def test_nothing_is_lost_when_nothing_goes_wrong(lossless_run):
    run = lossless_run("control", target="ours.toml")
    assert run.lost == 0
    assert run.acked == 400
    assert run.within_budget

def test_a_run_without_a_bound_is_no_pass(lossless_run):
    assert lossless_run("control", target="ours.toml", budget={"min_sent": 1}).lost == 0
"""

WRONG = """
def test_experiment(lossless_run):
    lossless_run("crahs", target="ours.toml")

def test_target(lossless_run):
    lossless_run("crash", target="theirs.toml")

def test_budget(lossless_run):
    lossless_run("crash", target="ours.toml", budget={"max_lots": 0})

def test_what_cannot_be_run(lossless_run):
    lossless_run("crash", target="attached.toml")
"""

ATTACHED = """
name = "attached"
summary = "runs already, so it cannot be killed"
ack_level = "enqueued"
[attach]
url = "http://127.0.0.1:1"
[persisted]
database = "postgresql://x@127.0.0.1:1/x"
query = "select 1"
"""


@pytest.fixture
def team(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder of a team's own: their dispatcher, its target file, no file of this project."""
    shutil.copy2(EXAMPLES / "dispatcher.py", pytester.path)
    target = (EXAMPLES / "dispatcher.toml").read_text()
    program = pytester.path / "dispatcher.py"
    (pytester.path / "ours.toml").write_text(
        target.replace("docs/examples/dispatcher.py", str(program))
    )
    (pytester.path / "attached.toml").write_text(ATTACHED)
    return pytester


def test_a_suite_fails_on_a_loss_with_the_table_and_passes_without(team: pytest.Pytester) -> None:
    team.makepyfile(SUITE)
    done = team.runpytest_subprocess("--lossmeter-runtime=local", "--lossmeter-seed=7")
    done.assert_outcomes(passed=1, failed=2)
    text = done.stdout.str()
    crash, _, rest = text.partition("test_a_run_without_a_bound_is_no_pass _")
    lost = re.search(r"assert (\d+) == 0", crash)
    assert lost is not None, text
    assert 500 <= int(lost[1]) <= 540
    assert re.search(
        rf"<crash on mine: {lost[1]} of [\d,]+ acked events lost, seed 7, fail>", crash
    )
    row = rf"crash +mine +1,800 +[\d,]+ +\d+ +\d+ +{lost[1]} .* fail"
    assert re.search(row, crash), "the table of the run"
    assert f"lost {lost[1]} is above the budget of 0" in crash
    for part in ("Ledger", "Evidence", "waitpid", "Self-proof", "Folder: "):
        assert part in crash
    assert "NotJudgedError: control on mine: no budget" in rest
    assert re.search(r"control +mine +400 .* inconclusive", rest)
    folders = [Path(name) for name in re.findall(r"^Folder: (.+)$", text, re.MULTILINE)]
    assert len(folders) == 2, "one for each test that failed"
    assert all((folder / "result.json").is_file() for folder in folders)
    runs = {folder.name for folder in folders}
    assert not [owner for _, owner in marked() if owner.run_id in runs], "nothing runs on"


def test_what_is_wrong_is_told_before_anything_starts(team: pytest.Pytester) -> None:
    team.makepyfile(WRONG)
    kept = team.path / "kept"
    done = team.runpytest_subprocess("--lossmeter-runtime=local", f"--lossmeter-runs={kept}", "-rs")
    done.assert_outcomes(failed=3, skipped=1)
    text = done.stdout.str()
    assert "experiment 'crahs' does not exist; did you mean 'crash'?" in text
    assert re.search(r"target file theirs\.toml is neither in .* nor in", text)
    assert "budget: max_lots" in text
    assert "known bounds are max_lost" in text
    assert "crash on attached: fault sigkill needs a target that is killable" in text
    assert not kept.exists(), "nothing was started"

"""A project of one's own: where its files are, and what lies there and is not ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.experiment_files import load_experiment, sketch
from lossmeter.plan.project import SHIPPED, Project
from tests.support.typed import typed

TARGET = """
name = "mine"
summary = "a dispatcher of my own"
ack_level = "enqueued"
[attach]
url = "http://127.0.0.1:8080"
[persisted]
database = "postgresql://me@127.0.0.1/mine"
query = "select producer, sequence from events"
"""
HEAD = """
from lossmeter.experiment import Experiment, Variant, steady
from lossmeter.model import Predicted
"""
EXPERIMENT = HEAD + (
    'EXPERIMENT = Experiment("mine", "It holds.", (Variant("", steady(10, 1)),), ("channel",),'
    " lambda seen: Predicted())\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_everything_lies_in_the_working_folder(folder: Path) -> None:
    project = Project.here()
    assert (project.root, project.runs) == (folder, folder / "results" / "runs")
    assert (project.targets, project.experiments) == (folder / "targets", folder / "experiments")
    assert project.budgets == folder / "experiments" / "budgets.toml"
    _put(folder / "budgets.toml", "")
    assert Project.here().budgets == folder / "budgets.toml"


@pytest.mark.parametrize(
    ("name", "head"), [("lossmeter.toml", ""), ("pyproject.toml", "[tool.lossmeter]\n")]
)
def test_a_project_file_above_the_working_folder_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, head: str
) -> None:
    _put(folder / name, head + 'targets = "loss/targets"\nruns = "build/loss"\n')
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    _put(deep / "pyproject.toml", "[tool.other]\n")
    monkeypatch.chdir(deep)
    project = Project.here()
    assert project.root == folder
    assert project.targets == folder / "loss" / "targets"
    assert (project.runs, project.results) == (folder / "build" / "loss", folder / "build")
    assert project.experiments == folder / "experiments"


def test_somebody_elses_pyproject_may_be_as_wrong_as_it_likes(folder: Path) -> None:
    _put(folder / "pyproject.toml", "[tool.black\n")
    assert Project.here().root == folder


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lossmeter.toml", "targets = 3\n", "targets: Input should be a valid string"),
        ("lossmeter.toml", 'target = "x"\n', "target: Extra inputs are not permitted; known are"),
        ("lossmeter.toml", "targets\n", "is not valid TOML"),
        ("lossmeter.toml", 'runs = ""\n', "runs: String should have at least 1 character"),
        ("lossmeter.toml", "x = " + "[" * 1500 + "]" * 1500, "is nested deeper than"),
        ("pyproject.toml", "[tool.lossmeter]\nrun = 1\n", "[tool.lossmeter]: run: Extra"),
        ("pyproject.toml", "[tool.lossmeter]\nruns = \n", "is not valid TOML"),
    ],
)
def test_a_wrong_project_file_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    _put(folder / name, text)
    done = typed(capsys, "list")
    assert done.code == 4
    (line,) = done.err.splitlines()
    assert said in line


def test_own_files_come_first_and_the_shipped_ones_are_there_too(folder: Path) -> None:
    shipped = Catalogue(Project.of(SHIPPED))
    _put(folder / "targets" / "mine.toml", TARGET)
    _put(folder / "experiments" / "mine.py", EXPERIMENT)
    _put(folder / "targets" / "channel.toml", 'extends = "channel"\nsummary = "our own"\n')
    catalogue = Catalogue.here()
    assert set(catalogue.target_names()) == {"mine", *shipped.target_names()}
    assert set(catalogue.experiment_names()) == {"mine", *shipped.experiment_names()}
    channel = catalogue.target("channel")
    assert channel.summary == "our own"
    assert channel.start == shipped.target("channel").start
    assert catalogue.target("redis").summary == shipped.target("redis").summary
    (clash,) = catalogue.clashes()
    assert clash == f"target channel is {folder / 'targets' / 'channel.toml'}, not the shipped one"


def test_no_shipped_experiment_stands_in_for_one_that_cannot_be_read(folder: Path) -> None:
    (folder / "experiments").mkdir(exist_ok=True)
    (folder / "experiments" / "crash.py").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"crash\.py is not UTF-8"):
        Catalogue.here().experiment("crash")


def test_a_copy_of_a_shipped_file_is_no_clash(project: Path) -> None:
    assert Catalogue.here().clashes() == []
    assert Catalogue.here().project.root == project


def test_own_budgets_lie_over_the_shipped_ones(folder: Path) -> None:
    before = Catalogue.here().budgets()
    assert before.find("crash", "", "channel") is not None
    _put(folder / "budgets.toml", "[crash.default]\nmax_lost = 7\n[mine.x.y]\nmax_lost = 1\n")
    budgets = Catalogue.here().budgets()
    crash = budgets.find("crash", "", "channel")
    assert crash is not None
    assert crash.max_lost == 7
    assert budgets.find("control", "", "mine") == before.find("control", "", "mine")
    # The name that a run carries leads to the same, whatever file its experiment was.
    found = budgets.of_run("mine-x", "y")
    assert found is not None
    assert found.max_lost == 1
    assert budgets.of_run("crash-full", "channel") == before.find("crash", "full", "channel")
    assert budgets.of_run("crasher", "channel") is None


def test_a_shipped_budget_says_nothing_of_an_experiment_in_its_place(folder: Path) -> None:
    _put(folder / "experiments" / "crash.py", EXPERIMENT.replace('"mine"', '"crash"'))
    assert Catalogue.here().budgets().find("crash", "", "channel") is None


RAN = "import os\nopen('ran', 'w').close()\n"


def test_folders_of_somebody_elses_are_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("targets", "experiments", "harness"):
        _put(folder / name / "__init__.py", RAN)
    _put(folder / "experiments" / "ab_test.py", RAN + "EXPERIMENT = 'blue button'\n")
    _put(folder / "experiments" / "broken.py", "def EXPERIMENT(:\n")
    _put(folder / "targets" / "prod.toml", 'name = "prod"\nhosts = ["a"]\n')
    _put(folder / "targets" / "broken.toml", "[[[\n")
    done = typed(capsys, "list")
    assert done.code == 0
    assert not (folder / "ran").exists()
    assert all(name not in done.out for name in ("ab-test", "broken", "prod"))


def test_listing_runs_no_file_and_shows_what_it_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _put(folder / "experiments" / "mine.py", RAN + EXPERIMENT)
    assert sketch(folder / "experiments" / "mine.py").hypothesis is None, "no keywords, no sketch"
    keyed = EXPERIMENT.replace(
        '"mine", "It holds.", (', 'name="mine", hypothesis="It holds.", variants=('
    )
    keyed = keyed.replace('("channel",), lambda', 'targets=("channel",), predict=lambda')
    _put(folder / "experiments" / "keyed.py", RAN + keyed)
    said = sketch(folder / "experiments" / "keyed.py")
    assert (said.hypothesis, said.variants, said.by_name_only) == ("It holds.", ("",), False)
    done = typed(capsys, "list")
    assert done.code == 0
    assert "It holds." in done.out
    assert "see `lossmeter list mine`" in done.out
    assert not (folder / "ran").exists()
    assert "It holds." in typed(capsys, "list", "mine").out
    assert (folder / "ran").exists()


BROKEN = {
    "syntax": "from lossmeter import x\nEXPERIMENT = (\n",
    "leaves": HEAD + "import sys\nsys.exit(0)\nEXPERIMENT = 1\n",
    "odd": HEAD + "class Odd(BaseException): pass\nraise Odd('so')\nEXPERIMENT = 1\n",
    "mute": HEAD
    + "class Mute(Exception):\n  def __str__(self): raise ValueError\nraise Mute\nEXPERIMENT = 1\n",
    "deep": HEAD + "def f(): f()\nf()\nEXPERIMENT = 1\n",
    "other": HEAD + "EXPERIMENT = 1\n",
    "none": HEAD + "# EXPERIMENT\n",
    "shapes": EXPERIMENT.replace("(Variant(", "[Variant(").replace("),),", ")],"),
    "name": EXPERIMENT.replace('"mine"', '"../mine"'),
    "long": EXPERIMENT.replace('"mine"', repr("m" * 300)),
    "faults": EXPERIMENT.replace("steady(10, 1))", "steady(10, 1), ('sigkill',))"),
    "zero": HEAD + "1 / 0\nEXPERIMENT = 1\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_experiment_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = _put(tmp_path / f"{kind}.py", BROKEN[kind])
    with pytest.raises(UsageError) as caught:
        load_experiment(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_experiment_breaks_only_itself(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, text in BROKEN.items():
        _put(folder / "experiments" / f"{kind}.py", text)
    done = typed(capsys, "list")
    assert done.code == 0
    assert "broken" in done.out
    assert "SyntaxError" in done.out
    assert "control" in done.out
    assert "control" in Catalogue.here().variants()


def test_a_dataclass_under_postponed_annotations_can_be_loaded(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + EXPERIMENT
    text += "@dataclass\nclass Note:\n    text: str = ''\n"
    assert load_experiment(_put(tmp_path / "mine.py", text)).name == "mine"


def test_what_an_experiment_prints_does_not_get_into_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_experiment(_put(tmp_path / "mine.py", EXPERIMENT + "print('hello')\n"))
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", "hello\n")


def test_two_targets_of_one_name_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [_put(folder / name / "mine.toml", TARGET) for name in ("a", "b")]
    reported = [word for file in files for word in ("--target", str(file))]
    done = typed(capsys, "run", "control", "--runtime", "local", *reported)
    assert done.code == 4
    assert "a/mine.toml and" in done.err
    assert "are both called 'mine'" in done.err
    done = typed(capsys, "run", "control", "-t", "redis", "-t", "redis", "--runtime", "local")
    assert (done.code, "target 'redis' is named 2 times" in done.err) == (4, True)


def test_a_target_that_is_named_is_meant_whatever_its_shape(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _put(folder / "targets" / "mine.toml", TARGET.replace("[persisted]", "[persist]"))
    assert "mine" not in Catalogue.here().target_names()
    done = typed(capsys, "run", "control", "--target", "mine", "--runtime", "local")
    assert done.code == 4
    assert "mine.toml: " in done.err


def test_a_shipped_target_is_extended_from_any_folder(tmp_path: Path) -> None:
    path = _put(tmp_path / "deep" / "ours.toml", 'extends = "redis"\nname = "ours"\n')
    target = Catalogue.here().target(str(path))
    assert (target.name, target.services) == ("ours", ("postgres", "redis"))
    assert target.container is not None
    assert target.container.build == SHIPPED / "targets" / "dispatcher"


def test_no_module_of_an_experiment_stays_when_it_is_broken(tmp_path: Path) -> None:
    before = set(sys.modules)
    with pytest.raises(UsageError):
        load_experiment(_put(tmp_path / "zero.py", BROKEN["zero"]))
    assert not [name for name in set(sys.modules) - before if name.startswith("lossmeter_exp")]

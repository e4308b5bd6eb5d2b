"""Experiments without Python say all that those in Python say, or what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lossmeter.errors import ExitCode, UsageError
from lossmeter.experiment import Experiment, PlannedFault, Variant
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.experiment_files import load_experiment, sketch
from lossmeter.plan.experiment_tables import TABLES
from lossmeter.plan.predict.named import PREDICTIONS
from lossmeter.plan.project import SHIPPED
from tests.support.typed import typed

EXAMPLE = SHIPPED / "docs" / "examples" / "late-crash.toml"
HEAD = '[experiment]\nhypothesis = "h"\ntargets = ["channel"]\n'
LOAD = "[load]\nrate_per_s = 10\nduration_s = 1\n"
FAULT = '[[fault]]\nkind = "sigkill"\n'


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(n)} = {_toml(v)}" for n, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _fault(planned: PlannedFault) -> dict[str, object]:
    trigger = planned.trigger
    said: dict[str, object] = {
        "kind": planned.fault,
        "when": "before the load" if trigger.load == "before" else trigger.condition,
        "at_s": trigger.at_s,
        "limit_s": trigger.limit_s,
        "step": trigger.step,
        "after": trigger.after,
        "hold_s": "until settled" if planned.hold_s is None else planned.hold_s,
        "parameters": dict(planned.parameters),
    }
    return {name: value for name, value in said.items() if value is not None}


def _variant(variant: Variant) -> dict[str, object]:
    load = variant.load
    return {
        "name": variant.name,
        "load": {
            "phases": [
                {"rate_per_s": each.rate_per_s, "duration_s": each.duration_s}
                for each in load.phases
            ],
            "producers": load.producers,
            "payload_bytes": load.payload_bytes,
            "max_in_flight": load.max_in_flight,
            "processes": load.processes,
        },
        "settings": dict(variant.settings),
        "fault": [_fault(each) for each in variant.faults],
        "targets": variant.targets,
        "requires": variant.requires,
        "instances": variant.instances,
        "tuned": variant.tuned,
        **({} if variant.remedy_of is None else {"remedy_of": variant.remedy_of}),
    }


def _written(experiment: Experiment) -> str:
    """Return an experiment in TOML; its prediction must have a name."""
    (prediction,) = [n for n, predict in PREDICTIONS.items() if predict is experiment.predict]
    head = {
        "hypothesis": experiment.hypothesis,
        "targets": experiment.targets,
        "prediction": prediction,
        "exact": experiment.exact,
        "by_name_only": experiment.by_name_only,
        "alone": experiment.alone,
    }
    lines = ["[experiment]", *(f"{name} = {_toml(value)}" for name, value in head.items())]
    lines += ["[bounds]", *(f"{n} = {_toml(v)}" for n, v in experiment.bounds.items())]
    for variant in experiment.variants:
        lines += ["[[variant]]", *(f"{n} = {_toml(v)}" for n, v in _variant(variant).items())]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", sorted(p.stem for p in (SHIPPED / "experiments").glob("*.py")))
def test_every_shipped_experiment_can_be_said_without_python(tmp_path: Path, name: str) -> None:
    said = load_experiment(SHIPPED / "experiments" / f"{name}.py")
    assert sum(predict is said.predict for predict in PREDICTIONS.values()) == 1
    file = tmp_path / f"{name}.toml"
    file.write_text(_written(said))
    again = load_experiment(file)
    assert replace(again, variants=()) == replace(said, variants=())
    for one, other in zip(again.variants, said.variants, strict=True):
        assert one == other


def test_a_variant_lays_over_the_rest_only_what_differs() -> None:
    crash, healthy = load_experiment(EXAMPLE).variants
    assert [each.fault for each in crash.faults] == ["latency", "sigkill"]
    assert (crash.faults[0].hold_s, crash.faults[1].trigger.condition) == (
        4,
        "queue_length >= 100",
    )
    assert (healthy.name, healthy.faults, healthy.load) == ("healthy", (), crash.load)
    assert healthy.settings == {**crash.settings, "workers": 8}


BAD = {
    "": "it has no table [experiment]",
    "[experiment]\n": "experiment.hypothesis: Field required",
    HEAD: "[load] is missing",
    HEAD + "[load]\nrate_per_s = 10\n": "[load] needs either rate_per_s and duration_s, or phases",
    HEAD + "[load]\nphases = []\n": "[load] needs either",
    HEAD + LOAD + "phases = [{rate_per_s = 1, duration_s = 1}]\n": "[load] needs either",
    HEAD + LOAD.replace("10", "0"): "rate 0/s is not above 0",
    HEAD + LOAD.replace("10", "true"): "load.rate_per_s: Input should be a valid number",
    HEAD + LOAD + "rate = 3\n": "[load]: word 'rate' does not exist; known are duration_s, max",
    HEAD + 'predicts = "crash"\n' + LOAD: "[experiment]: word 'predicts' does not exist",
    HEAD + 'prediction = "crsh"\n' + LOAD: "prediction 'crsh' does not exist; did you mean 'crash'",
    HEAD + LOAD + FAULT + 'when = "lunch"\n': "condition 'lunch' is not of the form",
    HEAD + LOAD + FAULT + 'step = "lunch"\n': "step 'lunch' is not one of accepted",
    HEAD + LOAD + FAULT + "hold = 3\n": "[fault]: word 'hold' does not exist; did you mean",
    HEAD + LOAD + FAULT + 'hold_s = "ever"\n': "hold_s",
    HEAD + LOAD + "[settings]\nworkers = [3]\n": "is neither a number nor a text in quotes",
    HEAD + 'prediction = "stop"\n' + LOAD + FAULT: "needs the parameter grace_s of each fault",
    HEAD + LOAD + '[[variant]]\nname = "A b"\n': "is no name",
    HEAD + LOAD + "[[variant]]\n[[variant]]\n": "two variants have one name",
    HEAD + LOAD + "[[variant]]\nloads = 1\n": "[variant]: word 'loads' does not exist",
    HEAD + LOAD + "[more]\n": "word 'more' does not exist; known are",
    HEAD.replace('["channel"]', '"channel"') + LOAD: "experiment.targets",
    "[experiment\n": "is not valid TOML",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: BAD[text][:40])
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        load_experiment(file)
    assert str(file) in str(error.value)
    assert BAD[text] in str(error.value)
    assert "\n" not in str(error.value)


WRONG = {
    HEAD + LOAD + FAULT.replace("sigkill", "sigkil"): "fault 'sigkil' does not exist",
    HEAD + LOAD + FAULT + "parameters = {grace_s = 1}\n": "grace_s",
    HEAD + LOAD + FAULT + "at_s = 2\n": "comes at 2 s, when the load of 1 s is over",
    HEAD + LOAD + "[bounds]\nmax_list = 0\n": "bounds: max_list",
    HEAD.replace('"channel"', '"chanel"') + LOAD: "target 'chanel' does not exist",
    HEAD + LOAD + FAULT + "hold_s = 0.5\n" + FAULT + "at_s = 0.2\n": "both strike",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: WRONG[text][:40])
def test_what_it_names_must_exist_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(text)
    answer = typed(capsys, "run", "mine.toml", "--runtime", "local")
    assert answer.code == ExitCode.USAGE
    assert WRONG[text] in answer.err
    assert not (tmp_path / "results").exists()


def test_it_is_found_in_the_folder_of_experiments_beside_those_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "late_crash.toml").write_text(EXAMPLE.read_text())
    (folder / "broken.toml").write_text("[experiment]\nhypothesis = 3\n")
    (folder / "other.toml").write_text("[somebody]\nelse = 1\n")
    (folder / "ran.py").write_text(
        "import lossmeter, pathlib\npathlib.Path('ran').touch()\nEXPERIMENT = 1\n"
    )
    (folder / "budgets.toml").write_text("[late-crash.channel]\nmax_lost = 7\n")
    catalogue = Catalogue.here()
    assert {"late-crash", "broken", "ran", "crash"} <= set(catalogue.experiment_names())
    assert "other" not in catalogue.experiment_names()
    assert "late-crash-healthy" in catalogue.variants()
    budget = catalogue.budgets().find("late-crash", "", "channel")
    assert budget is not None
    assert budget.max_lost == 7
    (tmp_path / "ran").unlink(missing_ok=True)
    shown = typed(capsys, "list").out
    assert "default, healthy" in shown
    assert "broken" in shown
    assert not (tmp_path / "ran").exists()
    assert "late-crash" in typed(capsys, "list", "late-crash").out
    assert "late-crash" in typed(capsys, "list", "experiments/late_crash.toml").out
    assert "100 queued" in typed(capsys, "plan", "late-crash", "--variant", "default").out


def test_of_two_files_of_one_name_none_is_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "late_crash.toml").write_text(EXAMPLE.read_text())
    (folder / "late-crash.toml").write_text(EXAMPLE.read_text())
    answer = typed(capsys, "run", "late-crash", "--runtime", "local")
    assert answer.code == ExitCode.USAGE
    assert "are both experiment 'late-crash'" in answer.err


def test_one_in_the_place_of_a_shipped_one_is_told_and_brings_its_own_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "crash.toml").write_text(EXAMPLE.read_text())
    catalogue = Catalogue.here()
    assert catalogue.clashes() == [
        f"experiment crash is {tmp_path / 'experiments' / 'crash.toml'}, not the shipped one"
    ]
    assert catalogue.budgets().find("crash", "", "channel") is None
    assert sketch(tmp_path / "experiments" / "crash.toml").variants == ("", "healthy")


def test_the_guide_has_every_word_and_every_prediction() -> None:
    guide = (SHIPPED / "docs" / "own-experiments.md").read_text(encoding="utf-8")
    words = {word for table in TABLES.values() for word in table.model_fields}
    assert {word for word in words | set(PREDICTIONS) if f"`{word}`" not in guide} == set()

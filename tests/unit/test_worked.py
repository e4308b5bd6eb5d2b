"""The worked numbers: what is compared, what is left out, and what the page says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lossmeter.commands.worked_numbers import _code, _newest, _of, _rows, _save
from lossmeter.errors import ExitCode, UsageError
from lossmeter.model import Predicted, Verdict
from lossmeter.plan.catalogue import Catalogue, Cell
from lossmeter.plan.project import Project
from lossmeter.record.result import Result
from lossmeter.report.worked import worked_page
from lossmeter.studies.worked import Number, Row, cell_of, read_numbers
from tests.support.judged_runs import Run
from tests.support.pages import squeezed
from tests.support.recorded_runs import record

CHANNEL = {"target": "channel"}
_PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = _PROJECT / "experiments" / "worked-numbers.toml"
CRASH = Number(
    says="a crash loses 1005",
    value=1005,
    experiment="crash",
    variant="full",
    target="channel",
    measure="lost",
    tolerance=12,
    reason="so it is",
)


def test_the_shipped_numbers_are_those_of_the_analysis() -> None:
    numbers = read_numbers(SHIPPED)
    assert {number.value for number in numbers} == {1005, 10, 15, 300, 0.83}
    assert all(number.tolerance < number.value / 5 for number in numbers)
    assert all(isinstance(cell_of(number, Catalogue.here()), Cell) for number in numbers)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"experiment": "flood"}, "there is no experiment flood yet"),
        ({"measure": "sighs"}, "there is no measure sighs yet"),
        ({"variant": "ful"}, "did you mean 'full'"),
        ({"target": "chanel"}, "did you mean 'channel'"),
    ],
)
def test_a_number_that_nothing_shows_is_left_out_with_its_reason(
    changed: dict[str, str], why: str
) -> None:
    cell = cell_of(CRASH.model_copy(update=changed), Catalogue.here())
    assert isinstance(cell, str)
    assert why in cell


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number = 3", "number"),
        ('[[number]]\nsays = "x"\n', "value"),
        ("[[number", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "worked-numbers.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_numbers(path)


def _results(runs: Path, verdicts: Sequence[Verdict]) -> list[Result]:
    """Make run folders, each with what its verdict is drawn from."""
    made = []
    for number, verdict in enumerate(verdicts):
        folder = runs / f"run-{number}"
        folder.mkdir(parents=True)
        result = Run(folder).judged()
        predicted = Predicted(lost=1005, basis="b")
        update = {"run_id": folder.name, "verdict": verdict, "predicted": predicted}
        made.append(result.model_copy(update=update))
    return made


def test_runs_that_were_not_judged_show_nothing(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for name in ("experiments", "targets"):
        (tmp_path / name).symlink_to(Path(__file__).resolve().parents[2] / name)
    catalogue = Catalogue(Project.of(tmp_path))
    verdicts = [Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.PASS]
    asked: list[str] = []

    def run(cell: Cell) -> Sequence[Result]:
        asked.append(cell.name)
        return _results(catalogue.runs, verdicts)

    sent = CRASH.model_copy(update={"measure": "sent", "value": 4.0})
    missing = CRASH.model_copy(update={"experiment": "flood"})
    lost_row, sent_row, missing_row = _rows([CRASH, sent, missing], catalogue, lambda _: None, run)
    # One cell is run once for all the numbers that it shows.
    assert asked == ["crash-full"]
    assert (lost_row.made, len(lost_row.measured)) == (5, 3)
    assert lost_row.runs == ["run-0", "run-1", "run-4"]
    assert lost_row.predicted == [1005.0] * 3
    assert sent_row.predicted == []
    assert missing_row.why_not == "there is no experiment flood yet"
    assert missing_row.measured == []


def test_recorded_runs_are_taken_the_newest_first_and_of_this_runtime_only(
    tmp_path: Path,
) -> None:
    names = ("20260101T000000Z-a-1", "20260103T000000Z-a-1", "20260102T000000Z-a-1")
    for name, runtime in zip(names, ("local", "local", "docker"), strict=True):
        record(tmp_path, name, runtime=runtime, experiment="crash-full", **CHANNEL)
    (tmp_path / "results" / "runs" / "20260104T000000Z-broken").mkdir()
    known = _newest(Catalogue(Project.of(tmp_path)), "local")
    assert [result.run_id for result in known] == [names[1], names[0]]
    cell = cell_of(CRASH, Catalogue.here())
    assert isinstance(cell, Cell)
    assert [result.run_id for result in _of(cell, known)] == [names[1], names[0]]
    (row,) = _rows([CRASH], Catalogue(Project.of(_PROJECT)), lambda _: None, lambda _: [])
    assert row.why_not == "no run of it is recorded"


def test_what_cannot_run_here_is_left_out(tmp_path: Path) -> None:
    def never(_: Cell) -> Sequence[Result]:
        raise AssertionError

    (row,) = _rows([CRASH], Catalogue.here(), lambda _: "no such runtime", never)
    assert row.why_not == "no such runtime"
    assert _code([row]) is ExitCode.NOTHING_JUDGED
    del tmp_path


def _row(measured: list[float], **more: object) -> Row:
    reported = {"number": CRASH, "unit": "events", "measured": measured, "made": 5} | more
    return Row.model_validate(reported)


@pytest.mark.parametrize(
    ("measured", "median", "difference", "within", "code"),
    [
        ([1003.0, 1005.0, 1004.0], 1004, -1, True, ExitCode.WITHIN_BUDGET),
        ([1017.0], 1017, 12, True, ExitCode.WITHIN_BUDGET),
        ([1018.0], 1018, 13, False, ExitCode.OVER_BUDGET),
        ([], None, None, None, ExitCode.INCONCLUSIVE),
    ],
)
def test_median_difference_and_code(
    measured: list[float],
    median: float | None,
    difference: float | None,
    within: bool | None,
    code: ExitCode,
) -> None:
    row = _row(measured)
    assert (row.median, row.difference, row.within) == (median, difference, within)
    assert _code([row]) is code


def test_the_page_and_the_data_say_the_same(tmp_path: Path) -> None:
    rows = [
        _row([1003.0, 1005.0, 1004.0], predicted=[1005.0] * 3),
        _row([], made=0, why_not="there is no experiment flood yet"),
    ]
    page = worked_page(rows, "lossmeter worked-numbers", {"cores": 2})
    line = (
        "| a crash loses 1005 | 1,005 events | 1,005 | 1,003, 1,005, 1,004 (3 of 5 judged) "
        "| 1,004 | −1 | yes |"
    )
    assert line in squeezed(page).splitlines()
    assert "- a crash loses 1005: there is no experiment flood yet" in page
    _save(Catalogue(Project.of(tmp_path)), rows, "lossmeter worked-numbers", "local")
    reported = json.loads((tmp_path / "results" / "worked-numbers.json").read_text())
    assert [each["median"] for each in reported["numbers"]] == [1004.0, None]
    assert reported["machine"]["runtime"] == "local"

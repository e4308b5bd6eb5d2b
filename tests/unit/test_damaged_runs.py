"""Whatever befalls a run folder, nothing but errors of the harness comes of it, and no pass."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossmeter.errors import HarnessError, UsageError
from lossmeter.judge.verdict import judge_run
from lossmeter.model import Verdict
from lossmeter.record.manifest import MANIFEST, RESULT
from lossmeter.record.result import Result
from tests.support.judged_runs import a_result
from tests.support.recorded_runs import plain_budgets
from tests.support.resealed import unsealed
from tests.support.run_folders import Written, page_of
from tests.support.sealed_runs import sealed
from tests.support.typed import typed

NAME = "20260101T000000Z-crash-1"
FILES = (
    *("facts.json", "manifest.json", "rows.npy", "dead_lettered.npy", "pending.npy"),
    *("journal-0.bin", "load-plan.json", "environment.json"),
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.just([]), st.just({}), st.just([[1]]), st.just("9" * 5000),
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that passes, with its digests."""
    return sealed(tmp_path_factory.mktemp("whole"), NAME)


@pytest.fixture(scope="module")
def without_digests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old") / NAME
    return unsealed(Written(folder, events=40, lost=3, marked=True).save())


def _copy(whole: Path, place: Path) -> Path:
    folder = place / whole.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    return folder


def _judged(folder: Path) -> Verdict | None:
    """Judge a folder and draw its page, as report and serve do; None where it is no run."""
    try:
        verdict = judge_run(folder).verdict
    except UsageError:
        return None
    try:
        page_of(folder)
    except HarnessError:
        return verdict
    return verdict


FUZZ = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(file=st.sampled_from(FILES), at=st.floats(0, 1), new=st.binary(min_size=1, max_size=12))
def test_random_bytes_never_pass(
    whole: Path, tmp_path: Path, file: str, at: float, new: bytes
) -> None:
    folder = _copy(whole, tmp_path)
    data = (folder / file).read_bytes()
    place = round(at * len(data))
    damaged = data[:place] + new + data[place + len(new) :]
    (folder / file).write_bytes(damaged)
    verdict = _judged(folder)
    if damaged != data:
        assert verdict in {None, Verdict.ERROR} or (file == MANIFEST and _same_text(data, damaged))


def _same_text(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@FUZZ
@given(file=st.sampled_from([name for name in FILES if name.endswith(".json")]), data=st.data())
def test_values_of_other_types_never_pass(
    whole: Path, tmp_path: Path, file: str, data: st.DataObject
) -> None:
    folder = _copy(whole, tmp_path)
    reported = json.loads((folder / file).read_text())
    name = data.draw(st.sampled_from(sorted(reported)))
    reported[name] = data.draw(VALUES)
    (folder / file).write_text(json.dumps(reported))
    assert _judged(folder) in {None, Verdict.ERROR} or reported == json.loads(
        (whole / file).read_text()
    )


@FUZZ
@given(data=st.data())
def test_old_runs_without_digests_end_in_no_traceback(
    without_digests: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = _copy(without_digests, tmp_path)
    file = data.draw(st.sampled_from(sorted(p.name for p in folder.iterdir() if p.is_file())))
    if file.endswith(".json") and data.draw(st.booleans()):
        reported = json.loads((folder / file).read_text())
        inner = reported
        while isinstance(inner, dict) and inner:
            name = data.draw(st.sampled_from(sorted(inner)))
            if isinstance(inner[name], dict) and data.draw(st.booleans()):
                inner = inner[name]
                continue
            inner[name] = data.draw(VALUES)
            break
        (folder / file).write_text(json.dumps(reported))
    else:
        before = (folder / file).read_bytes()
        at = data.draw(st.integers(0, len(before)))
        new = data.draw(st.binary(max_size=12))
        (folder / file).write_bytes(before[:at] + new + before[at + len(new) :])
    _judged(folder)


DAMAGES = {
    "not UTF-8": lambda file: file.write_bytes(b"\xff\xfe{"),
    "empty": lambda file: file.write_bytes(b""),
    "nested": lambda file: file.write_text("[" * 100_000),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a FIFO": lambda file: (file.unlink(), os.mkfifo(file)),
    "a link": lambda file: (file.unlink(), file.symlink_to("/dev/zero")),
    "broken header": lambda file: file.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': (((((("),
    "huge shape": lambda file: file.write_bytes(
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<i8', 'fortran_order': False, 'shape': (999999999999999,), }".ljust(117)
        + b"\n"
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("file", ["facts.json", "rows.npy", "journal-0.bin", RESULT])
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_others_are_judged_and_junit_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], damage: str, file: str, digests: bool
) -> None:
    plain_budgets(project)
    leave = Path if digests else unsealed
    folder = leave(sealed(project, NAME))
    leave(sealed(project, "20260102T000000Z-crash-1", target="redis"))
    path = folder / file
    path.touch()
    DAMAGES[damage](path)
    for command in ("gate", "report"):
        done = typed(capsys, command, NAME, "20260102T000000Z-crash-1")
        assert "Traceback" not in done.err
        assert done.code in ({0, 3} if digests else {3, 7})
        assert "redis" in done.out
        if file == "facts.json":
            assert f"damaged: {NAME}: " in " ".join(done.out.split())
        assert done.code == 3 or not digests or file == RESULT
    junit = (project / "results" / "junit.xml").read_text()
    assert "redis [local]" in junit
    for command in ("history", "compare"):
        done = typed(capsys, command, *([NAME] if command == "compare" else []))
        assert "Traceback" not in done.err
        assert done.code in {0, 3, 4}


def test_a_reason_that_quotes_a_name_in_other_bytes_is_written_all_the_same(
    tmp_path: Path,
) -> None:
    """Input 22 of the fuzz script: gate ended in a traceback at a damaged run of such a name."""
    reason = f"{os.fsdecode(b'J' + bytes([0xFC]) + b'rgen')}/rows.npy is damaged"
    a_result("error").model_copy(update={"reason": reason}).save(tmp_path)
    written = (tmp_path / RESULT).read_text(encoding="utf-8")
    assert json.loads(written)["reason"] == "J\\udcfcrgen/rows.npy is damaged"
    assert Result.model_validate_json(written.replace('"schema"', '"schema_version"', 1))

"""Reports, comparisons and reference tables as a user gets them, and pages in a real browser."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.support import browser
from tests.support.pages import MARKUP, Seen
from tests.support.program import COMMAND, Done, lossmeter
from tests.support.run_folders import Written

WIDE_PX = 1100
BUDGETS = "[crash.default]\nmax_lost = 100\n\n[rates.100.default]\nmax_lost = 100\n"


@pytest.fixture
def runs(project: Path) -> Path:
    folder = project / "results" / "runs"
    # In force for runs that are smaller than those of the shipped budgets.
    (project / "experiments" / "budgets.toml").write_text(BUDGETS)
    Written(folder / "20261125T000001Z-crash-1", lost=90, refused=20).save()
    Written(folder / "20261125T000002Z-crash-1", target="redis").save()
    for n, target in enumerate(("channel", "redis")):
        Written(
            folder / f"20261125T00001{n}Z-rates-100-1",
            experiment="rates-100",
            target=target,
            fault=False,
        ).save()
    return folder


def _names(runs: Path) -> list[str]:
    return sorted(path.name for path in runs.iterdir() if path.is_dir())


def _refused(done: Done, *words: str) -> None:
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 4, done.err
    assert len(lines) == 1, done.err
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in done.err


def _damaged(done: Done, word: str) -> None:
    """A named run that cannot be read is an error of its own; others would be judged."""
    assert done.code == 3, done.err
    assert " ".join(word.split()) in " ".join(done.out.split())
    assert "Traceback" not in done.err


# Bad input.


def test_a_foreign_folder_is_refused(runs: Path) -> None:
    (runs / "20261125T000009Z-notes-1").mkdir()
    for command in ("compare", "results"):
        _refused(lossmeter(command, "20261125T000009Z-notes-1"), "is not the folder of a run")
    _damaged(lossmeter("report", "20261125T000009Z-notes-1"), "no \nfacts.json")


def test_a_damaged_run_is_refused(runs: Path) -> None:
    name = _names(runs)[0]
    # It is judged again from what was recorded, whatever its result says.
    (runs / name / "result.json").write_text('{"schema": 1}')
    assert lossmeter("compare", name).code == 0
    (runs / name / "facts.json").write_text("{")
    _damaged(lossmeter("report", name), "facts.json")


def test_runs_that_cannot_be_compared_are_refused(runs: Path) -> None:
    other = Written(runs / "20261125T000003Z-crash-2", seed=2).save()
    load = Written(runs / "20261125T000004Z-crash-1", rate_per_s=50).save()
    docker = Written(runs / "20261125T000005Z-crash-1", runtime="docker").save()
    mine = _names(runs)[0]
    _refused(lossmeter("compare", mine, "-b", other.name), "crash on channel: the seeds are 1", "2")
    _refused(lossmeter("compare", mine, "-b", load.name), "runs of different loads")
    _refused(lossmeter("compare", mine, load.name), "runs of different loads")
    _refused(lossmeter("compare", mine, "-b", docker.name), "runtime local", "docker")
    _refused(lossmeter("compare", mine, "-b", "nowhere"), "run 'nowhere' does not exist")


def test_a_file_of_unknown_kind_is_refused(runs: Path) -> None:
    mine = _names(runs)[0]
    _refused(lossmeter("compare", mine, "-o", "matrix.docx"), "'.docx'", ".parquet")
    _refused(lossmeter("compare", mine, "-o", "no/where.md"), "folder no does not exist")


def test_markup_in_a_target_file_is_refused(project: Path) -> None:
    text = (project / "targets" / "channel.toml").read_text()
    (project / "mine.toml").write_text(text.replace('\nname = "channel"', "\nname = '<b>mine</b>'"))
    _refused(lossmeter("run", "control", "--target", "mine.toml"), "mine.toml: name: ")


# What is written.


def test_report_judges_shows_and_draws(runs: Path) -> None:
    name = _names(runs)[0]
    done = lossmeter("report", name)
    assert done.code == 0, done.err
    assert "90" in done.out
    assert f"{name}/report.html" in done.err
    assert "90 of 980 acked events lost" in (runs / name / "report.html").read_text()
    clean = lossmeter("report", name, "--json", "-", "--no-page")
    assert clean.results()[0]["counts"]["lost"] == 90


def test_report_of_several_draws_the_matrix(runs: Path) -> None:
    done = lossmeter("report", *_names(runs))
    assert done.code == 0, done.err
    assert all((runs / name / "report.html").exists() for name in _names(runs))
    assert "2 experiments on 2 targets" in (runs / "matrix.html").read_text()


def test_the_matrix_of_runs_that_lie_elsewhere_lies_beside_them(runs: Path, tmp_path: Path) -> None:
    fetched = [tmp_path / name for name in _names(runs)]
    for folder in fetched:
        shutil.copytree(runs / folder.name, folder)
    (runs / "matrix.html").unlink(missing_ok=True)
    done = lossmeter("report", *(str(folder) for folder in fetched))
    assert done.code == 0, done.err
    assert (tmp_path / "matrix.html").exists()
    assert not (runs / "matrix.html").exists()


def test_compare_writes_four_formats_that_agree(runs: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"matrix{suffix}" for suffix in (".md", ".csv", ".parquet", ".html")]
    done = lossmeter("compare", *_names(runs), *(f"--out={file}" for file in files))
    assert done.code == 0, done.err
    assert "redis" in done.out
    table, parquet = pd.read_csv(files[1]), pd.read_parquet(files[2])
    pd.testing.assert_frame_equal(table, parquet, check_dtype=False)
    lost = table.set_index(["experiment", "target"])["lost"]
    assert lost["crash", "channel"] == 90
    assert lost["crash", "redis"] == 0
    assert "| crash | 90 | 0 |" in " ".join(files[0].read_text().split())
    assert "90" in Seen(files[3].read_text()).text


def test_compare_says_when_it_cannot_tell(runs: Path) -> None:
    again = Written(runs / "20261125T000003Z-crash-1", lost=10).save()
    done = lossmeter("compare", _names(runs)[0], "-b", again.name)
    assert done.code == 0, done.err
    assert "cannot tell" in done.out


def test_results_are_written_from_runs_that_exist(runs: Path, project: Path) -> None:
    done = lossmeter("results", *_names(runs))
    assert done.code == 0, done.err
    page = (project / "results" / "README.md").read_text()
    assert "At 100 events/s **redis** suits best" in page
    assert "The analysis recommends channel + retry + alerts" in page
    for name in ("matrix.csv", "matrix.parquet", "matrix.html"):
        assert (project / "results" / name).stat().st_size > 500


def test_results_are_bounded_in_time_and_go_on_where_they_were(project: Path) -> None:
    asked = ("results", "-e", "control", "-t", "channel", "-t", "redis", "--runtime", "local")
    done = lossmeter(*asked, "--within-min", "0.1")
    assert done.code == 7, done.err
    assert "none begins after 0.1 min" in done.err
    page = (project / "results" / "README.md").read_text().replace("\\", "")
    assert "control on redis: the time was up" in page
    assert len(list((project / "results" / "runs").iterdir())) == 1
    again = lossmeter(*asked, "--repeat", "1")
    assert "1 run to make, 1 are there already" in again.err
    assert again.code == 0, again.err
    assert len(list((project / "results" / "runs").iterdir())) == 2


# A run on a terminal.


def test_a_terminal_shows_the_run_live_and_json_stays_clean(project: Path) -> None:
    mine, theirs = pty.openpty()
    run = [*COMMAND, "run", "control", "--target", "channel", "--runtime", "local", "--json", "-"]
    with subprocess.Popen(
        run,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "140", "TERM": "xterm"},
    ) as running:
        os.close(theirs)
        shown = b""
        while chunk := _read(mine):
            shown += chunk
        assert running.stdout is not None
        results = json.loads(running.stdout.read())
    os.close(mine)
    text = shown.decode(errors="replace")
    assert results[0]["verdict"] == "pass", results[0]["reason"]
    page = project / "results" / "runs" / results[0]["run_id"] / "report.html"
    assert "control on channel: none of 400 acked events was lost" in page.read_text()
    assert "\x1b[" in text
    for figure in ("rate", "sent", "acked", "refused", "queue", "left"):
        assert figure in text, f"{figure} is not shown"
    assert project.exists()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


# In a real browser; each width has its test in test_page_widths.py.


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = Written(tmp_path / "run", experiment=MARKUP, lost=90, refused=20, text=MARKUP).save()
    assert lossmeter("report", str(folder)).code == 0
    return folder / "report.html"


def test_a_browser_draws_light_and_dark(page: Path, tmp_path: Path) -> None:
    shades = {}
    for dark in (False, True):
        file = tmp_path / f"{dark}.png"
        browser.picture(page, file, WIDE_PX, 1400, dark=dark)
        with Image.open(file) as picture:
            grey = picture.convert("L")
            assert len(set(grey.get_flattened_data())) > 20, "the picture is not empty"
            corner = grey.getpixel((5, 5))
            assert isinstance(corner, int)
            shades[dark] = corner
    assert shades[False] > 200
    assert shades[True] < 60


def test_a_browser_shows_the_matrix(runs: Path) -> None:
    assert lossmeter("report", *_names(runs)).code == 0
    page = runs / "matrix.html"
    text = Seen(browser.dom(page)).text
    assert "Which target suits which rate" in text
    assert "90 lost" in " ".join(text.split())


def test_the_browser_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "found", lambda: None)
    monkeypatch.setenv("LOSSMETER_CI", "1")
    with pytest.raises(AssertionError, match="no Chromium is installed"):
        browser.browser()
    monkeypatch.delenv("LOSSMETER_CI")
    with pytest.raises(pytest.skip.Exception, match="no Chromium is installed"):
        browser.browser()


def test_help_stays_fast() -> None:
    heavy = "('matplotlib', 'pandas', 'scipy', 'jinja2')"
    asked = f"import sys, lossmeter.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Whatever the caller's environment, home and working folder hold, the measurement is the same."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from lossmeter.world import isolation
from tests.support.odd_project import run_short
from tests.support.program import Done, Running

# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
PROXIES = {
    **dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"), NOWHERE),
    "no_proxy": "",
}
LIBPQ = {
    "PGHOST": "/nonexistent",
    "PGHOSTADDR": "127.0.0.9",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGDATABASE": "nothing",
    "PGSERVICE": "nothing",
    "PGSSLMODE": "require",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=1",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "SQL, DMY",
    "PGCLIENTENCODING": "LATIN1",
    "PGCONNECT_TIMEOUT": "no number",
}
LOCUST = {"LOCUST_USERS": "7", "LOCUST_TAGS": "smoke", "LOCUST_PROCESSES": "2", "LOCUST_CSV": "x"}
# No one of these is named as a list of what is secret would have it.
SECRETS = {
    "DB_PASS": "s3cr3tDbPass",
    "API_KEY": "s3cr3tApiKey",
    "DATABASE_DSN": "host=db user=me password=s3cr3tDatabaseDsn",
    "db_pass": "s3cr3tLowerCase",
    "quietly": "s3cr3tOfNoSuchName",
    "BROKER": "amqp://user:s3cr3tInUrl@broker.example/",
    "LOSSMETER_TEST_KEY": "s3cr3tOfOurs",
    "PYTHON_TOKEN": "s3cr3tOfPython",
}
CONFIGURATIONS = ("tags = smoke\nprocesses = 2\ncsv = here", "master = true\nnonsense = 1")


def _write_modules(folder: Path) -> None:
    for name in ("queue", "secrets", "locust", "gevent", "requests", "runpy", "lossmeter_load"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('the wrong {name}')\n")


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def surrounded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """A run amid all of this: its working folder, and what it said."""
    folder = tmp_path_factory.mktemp("surrounded")
    here, home = folder / "here", folder / "home"
    here.mkdir()
    home.mkdir()
    arguments = run_short(folder)
    _write_modules(here)
    for file in (here / "locust.conf", home / ".locust.conf"):
        file.write_text(f"{request.param}\n")
    (here / "pyproject.toml").write_text('[tool.locust]\ntags = ["smoke"]\n')
    (home / ".pgpass").write_text("*:*:*:*:wrong\n")
    (home / ".pgpass").chmod(0o600)
    (home / ".pg_service.conf").write_text("[nothing]\nhost=127.0.0.9\n")
    done = Running(
        *(*arguments, "--gate", "--junit", "junit.xml", "--json", "results.json"),
        command=(str(Path(sys.executable).with_name("lossmeter")),),
        environment={**PROXIES, **LIBPQ, **LOCUST, **SECRETS, "HOME": str(home)},
        folder=here,
    ).end(120)
    return here, done


def test_no_surroundings_change_a_run(surrounded: tuple[Path, Done]) -> None:
    here, done = surrounded
    assert done.code == 0, done.out + done.err
    kept = {"locust.conf", "pyproject.toml", "results", "junit.xml", "results.json"}
    assert {path.name for path in here.iterdir()} - {p.name for p in here.glob("*.py")} <= kept


def test_no_value_of_the_callers_environment_is_kept(surrounded: tuple[Path, Done]) -> None:
    here, done = surrounded
    files = [path for path in here.rglob("*") if path.is_file()]
    assert {"environment.json", "report.html", "junit.xml", "results.json"} <= {
        path.name for path in files
    }
    assert len([path for path in files if path.suffix == ".log"]) > 2
    for name, value in SECRETS.items():
        secret = value.partition("s3cr3t")[2].partition("@")[0]
        assert secret not in done.out + done.err, name
        assert not [path for path in files if secret.encode() in path.read_bytes()], name


def test_what_only_pythonpath_makes_importable_reaches_the_helpers(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    folders = [*isolation.import_folders(), *site.getsitepackages()]
    done = Running(
        *run_short(tmp_path),
        command=(str(tmp_path / "bare" / "bin" / "python"), "-m", "lossmeter.cli"),
        environment={"PYTHONPATH": os.pathsep.join(folders)},
        folder=tmp_path,
    ).end(120)
    assert done.code == 0, done.out + done.err


def test_a_state_that_cannot_be_read_is_known_before_the_load(tmp_path: Path) -> None:
    done = Running(*run_short(tmp_path, "text"), folder=tmp_path).end(120)
    assert done.code == 4, done.out + done.err
    assert "http.queue_length names queue_length" in " ".join((done.out + done.err).split())
    assert not list((tmp_path / "results").rglob("journal-*.bin"))


def test_pip_is_told_where_packages_are_and_not_where_they_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {
        "PIP_USER": "1",
        "PIP_TARGET": "/nonexistent/target",
        "PIP_PREFIX": "/nonexistent/prefix",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    reported = isolation.pip_environment()
    assert reported["PIP_INDEX_URL"] == reported["UV_DEFAULT_INDEX"] == "http://127.0.0.1:9/simple"
    assert not {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"} & set(reported)


def test_a_set_up_step_gets_an_environment_of_its_own(tmp_path: Path) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nuser = true\ntarget = /nonexistent\nindex-url = http://a/b\n")
    reported = subprocess.run(
        [sys.executable, "-P", "-s", isolation.__file__, "env"],
        env={name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        | {"PIP_CONFIG_FILE": str(settings), "LOCUST_USERS": "7", "PGHOST": "x"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    names = {line.partition("=")[0] for line in reported}
    assert "PIP_INDEX_URL=http://a/b" in reported
    assert not names & {"PIP_USER", "PIP_TARGET", "LOCUST_USERS", "PGHOST"}

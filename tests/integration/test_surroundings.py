"""Whatever the caller's environment, home and working folder hold, the measurement is the same."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import threading
import unicodedata
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lossmeter.world import isolation
from tests.support.attached import attached, run_attached, to_file
from tests.support.odd_project import SOURCE, run_short
from tests.support.program import Done, Running

# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
PROXIES = {
    **dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"), NOWHERE),
    "no_proxy": "",
}
# All that the odd target's process may have beside what its file names.
PASSED_ON = {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE"}
PASSED_ON |= {"SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH"}
PASSED_ON |= {"LOSSMETER_RUN", "PYTHONUNBUFFERED"}
NAMED = {"PORT", "DSN", "STATE"}
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


@contextmanager
def yes_to_all() -> Iterator[tuple[str, list[str]]]:
    """A proxy that says yes to everything, with what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            asked.append(self.raw_requestline.decode("latin-1"))
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
            return False

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def surrounded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done, list[str]]:
    """A run amid all of this: its working folder, what it said, and what a proxy was asked."""
    folder = tmp_path_factory.mktemp("surrounded")
    if request.param == CONFIGURATIONS[0]:
        return *_run_amid(folder, request.param, PROXIES), []
    with yes_to_all() as (url, asked):
        proxies = {name: value and url for name, value in PROXIES.items()}
        return *_run_amid(folder, request.param, proxies), asked


def _run_amid(folder: Path, configuration: str, proxies: Mapping[str, str]) -> tuple[Path, Done]:
    here, home = folder / "here", folder / "home"
    here.mkdir()
    home.mkdir()
    arguments = run_short(folder)
    _write_modules(here)
    for file in (here / "locust.conf", home / ".locust.conf"):
        file.write_text(f"{configuration}\n")
    (here / "pyproject.toml").write_text('[tool.locust]\ntags = ["smoke"]\n')
    (home / ".pgpass").write_text("*:*:*:*:wrong\n")
    (home / ".pgpass").chmod(0o600)
    (home / ".pg_service.conf").write_text("[nothing]\nhost=127.0.0.9\n")
    done = Running(
        *(*arguments, "--gate", "--junit", "junit.xml", "--json", "results.json"),
        command=(str(Path(sys.executable).with_name("lossmeter")),),
        environment={**proxies, **LIBPQ, **LOCUST, **SECRETS, "HOME": str(home)},
        folder=here,
    ).end(120)
    return here, done


def test_no_surroundings_change_a_run(surrounded: tuple[Path, Done, list[str]]) -> None:
    here, done, asked = surrounded
    assert done.code == 0, done.out + done.err
    assert asked == []
    (log,) = (here / "results" / "runs").glob("*/logs/target.log")
    (line,) = [each for each in log.read_text().splitlines() if each.startswith("variables: ")]
    given = {name for name in line.split()[1:] if not name.startswith("LC_")}
    assert NAMED <= given <= NAMED | PASSED_ON
    kept = {"locust.conf", "pyproject.toml", "results", "junit.xml", "results.json"}
    assert {path.name for path in here.iterdir()} - {p.name for p in here.glob("*.py")} <= kept


def test_no_value_of_the_callers_environment_is_kept(
    surrounded: tuple[Path, Done, list[str]],
) -> None:
    here, done, _ = surrounded
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


def test_a_dispatcher_on_the_other_loopback_is_asked_by_its_name(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    store = f'[persisted]\nkind = "jsonl"\nfile = "{kept}"\npayload = "payload"\n'
    with attached(to_file(kept), "::1") as dispatcher:
        ask = run_attached(tmp_path, dispatcher.port, store)
        file = tmp_path / "attached.toml"
        file.write_text(file.read_text().replace("//127.0.0.1:", "//[::1]:"))
        done = Running(*ask, folder=tmp_path).end(120)
    assert done.code == 0, done.out + done.err
    assert dispatcher.kept == 50
    assert dispatcher.hosts == {f"[::1]:{dispatcher.port}"}


def test_no_log_of_a_target_moves_the_cursor(tmp_path: Path) -> None:
    hostile = r"\033[2J\033]0;title\007\302\233 31mred \202\r\b the end"
    arguments = run_short(tmp_path)
    file = tmp_path / "odd.toml"
    command = f"""["sh", "-c", "printf '{hostile}\\n' >&2; exit 3"]"""
    text = file.read_text().replace(f'["{{python}}", "{SOURCE}"]', command.replace("\\", "\\\\"))
    file.write_text(text)
    done = Running(*arguments, "--json", "told.json", folder=tmp_path).end(120)
    assert done.code == 3, done.out + done.err
    assert "the end" in done.err
    shown = done.out + done.err + (tmp_path / "told.json").read_text()
    assert {each for each in shown if unicodedata.category(each) == "Cc"} <= {"\n"}
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    judged = Running("gate", str(folder), folder=tmp_path).end(120)
    assert "the end" in judged.out + judged.err
    assert {c for c in judged.out + judged.err if unicodedata.category(c) == "Cc"} <= {"\n"}

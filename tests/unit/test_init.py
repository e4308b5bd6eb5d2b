"""`lossmeter init`: what a repository gives away, and first files that can be read."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.project import Project
from lossmeter.plan.starters import FRAMEWORKS, OTHER, look
from tests.support.typed import typed

SHIPPED = Path(__file__).resolve().parents[2] / "targets" / "frameworks"
Capsys = pytest.CaptureFixture[str]
SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("kind", "shipped"),
    [
        ("celery", "celery-redis/celery-redis.toml"),
        ("celery-rabbitmq", "celery-rabbitmq/celery-rabbitmq.toml"),
        ("dramatiq", "dramatiq-redis/dramatiq-redis.toml"),
    ],
)
def test_a_queue_is_read_as_that_of_the_shipped_target(kind: str, shipped: str) -> None:
    known = tomllib.loads((SHIPPED / shipped).read_text())
    assert tomllib.loads(f"queue = {FRAMEWORKS[kind].queue}")["queue"] == known["queue"]


@pytest.mark.parametrize("kind", [*FRAMEWORKS, OTHER])
def test_the_first_file_of_each_kind_is_a_target(
    repository: Path, kind: str, capsys: Capsys
) -> None:
    done = typed(capsys, "init", kind, "--name", "ours", "--app", "shop.jobs", "--table", "notice")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "next: lossmeter check ours"
    catalogue = Catalogue(Project.here())
    target = catalogue.target("ours")
    assert target.processes[0].folder == repository
    assert "from notice" in str(target.persisted.table["query"])
    assert catalogue.budgets().find("crash", "", "ours") is not None
    assert catalogue.runs == repository / "loss" / "results" / "runs"
    assert (repository / ".gitignore").read_text() == "loss/results/\n"
    if FRAMEWORKS.get(kind, FRAMEWORKS["http"]).call:
        assert "shop.jobs" in (repository / "loss" / "targets" / "ours.toml").read_text()


def test_a_repository_says_what_it_uses(repository: Path, capsys: Capsys) -> None:
    (repository / "requirements.txt").write_text("flask==3\nrqueue\nCelery[redis]>=5\n")
    (repository / "shop").mkdir()
    (repository / "shop" / "work.py").write_text("import celery\napp = Celery('shop')\n")
    (repository / ".venv").mkdir()
    (repository / ".venv" / "other.py").write_text("app = Celery('not ours')\n")
    (repository / ".github").mkdir()
    found = look(repository)
    assert list(found.kinds) == ["celery", "http"]
    assert found.modules["celery"] == "shop.work"

    done = typed(capsys, "init")

    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "requirements.txt names celery"
    text = (repository / "loss" / "targets" / "celery.toml").read_text()
    assert 'call = "shop.work:notify.delay"' in text
    assert (repository / ".github" / "workflows" / "events-lost.yml").exists()


@pytest.mark.parametrize("place", [".env", "shop.py"])
def test_an_address_of_rabbitmq_says_which_broker_celery_has(repository: Path, place: str) -> None:
    (repository / "requirements.txt").write_text("celery>=5\n")
    (repository / "shop.py").write_text("app = Celery('shop')\n")
    assert list(look(repository).kinds) == ["celery"]
    with (repository / place).open("a") as file:
        file.write("BROKER = 'pyamqp://guest@localhost//'\n")
    found = look(repository)
    assert list(found.kinds) == ["celery-rabbitmq"]
    assert found.modules["celery-rabbitmq"] == "shop"


def test_nothing_that_is_there_is_changed(repository: Path, capsys: Capsys) -> None:
    (repository / ".gitignore").write_text("*.log")
    assert typed(capsys, "init", "rq", "--ci", "gitlab").code == 0
    (repository / "loss" / "targets" / "rq.toml").write_text("# mine\n")
    before = files(repository)
    assert before[".gitignore"] == "*.log\nloss/results/\n"

    done = typed(capsys, "init", "rq", "--ci", "gitlab")

    assert done.code == 0
    assert "kept loss/targets/rq.toml, which is there already" in done.out
    assert files(repository) == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "nothing here says what dispatches your events; name one of celery, celery-rabbitmq"),
        (("celry",), "'celry'"),
        (("celery", "--ci", "jenkins"), "'jenkins'"),
        (("celery", "--name", "Our Own"), "name"),
        (("celery", "--table", 'a"b'), "cannot stand in a file"),
    ],
)
def test_what_cannot_be_used_writes_nothing(
    repository: Path, asked: tuple[str, ...], said: str, capsys: Capsys
) -> None:
    done = typed(capsys, "init", *asked)
    assert done.code == 4
    assert said in done.err
    assert files(repository) == {}


@pytest.mark.parametrize("host", SCHEMAS)
def test_pipelines_are_valid_by_their_vendors_schemas(
    repository: Path, host: str, capsys: Capsys
) -> None:
    assert typed(capsys, "init", "http", "--name", "shop", "--ci", host).code == 0
    (file,) = list(repository.rglob("*.yml"))
    text = file.read_text()
    assert "lossmeter run crash --target shop --runtime local --seed 1 --repeat 4" in text
    assert "lossmeter gate" in text
    assert "pip install 'lossmeter[postgres,charts,statistics]'" in text
    assert "lossmeter changes loss/results/base" in text
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[host], file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

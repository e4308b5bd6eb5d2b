"""The image of a process that names none: what goes into it, and when there is none."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from lossmeter.commands._running import Placed, prepare
from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.environment import Environment
from lossmeter.plan.processes import Container
from lossmeter.plan.target import Target, load_target
from lossmeter.plugins import load
from lossmeter.studies.checking import EXPERIMENT
from lossmeter.world import recovery, runtimes
from lossmeter.world.install import environments
from lossmeter.world.ownership import MARK
from lossmeter.world.runtimes import _own_image
from lossmeter.world.runtimes._docker_images import _files, _fingerprint
from lossmeter.world.service import Recipe

FRAMEWORKS = Path(__file__).resolve().parents[2] / "targets" / "frameworks"
FILES = sorted(each for each in FRAMEWORKS.glob("*/*.toml") if each.stem != "promises")
TARGET = """
name = "mine"
summary = "workers of my own"
ack_level = "broker"
services = ["postgres"]
%s
[ingress]
kind = "python"
call = "app:send"
[[process]]
name = "worker"
command = ["{python}", "app.py"]
folder = "."
%s
[persisted]
query = "select producer, sequence from events"
"""
PYTHON = 'environment = {python = "requirements.lock"}'
GO = 'environment = {go = "go.mod"}'


def _read(folder: Path, *, environment: str = PYTHON, more: str = "") -> Target:
    for name in ("requirements.lock", "go.mod", "app.py"):
        (folder / name).touch()
    path = folder / "mine.toml"
    path.write_text(TARGET % (environment, more), encoding="utf-8")
    return load_target(path)


def _refusal(target: Target, on: str = "docker") -> str | None:
    why: str | None = load(runtimes, on, "runtime").RUNTIME.refuses(target)
    return why


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_each_framework_may_run_in_containers(file: Path) -> None:
    target = load_target(file)
    assert _refusal(target) is None
    refused = "takes no requests" in str(_refusal(target, "kubernetes"))
    assert refused == (not target.takes_requests)


@pytest.mark.parametrize("name", Environment.model_fields)
def test_each_kind_says_where_its_image_has_it(name: str) -> None:
    kind = import_module(f"{environments.__name__}.{name}")
    text = (kind._IMAGE / "Dockerfile").read_text(encoding="utf-8")
    assert "FROM ${BASE}" in text
    for path in kind.INSIDE.values():
        # /opt/NAME, whatever is below.
        assert "/".join(path.split("/")[:3]) in text


def test_an_image_that_is_named_is_taken(tmp_path: Path) -> None:
    target = _read(tmp_path, more='container = {image = "mine", python = "/usr/bin/python3"}')
    container = target.container_of(*target.processes)
    assert not container.by_itself
    assert _own_image.stands_for(target, container) == {"python": "/usr/bin/python3"}
    target = _read(tmp_path, more="container = {memory_mib = 1024}")
    container = target.container_of(*target.processes)
    assert container == Container(memory_mib=1024)
    inside = _own_image.stands_for(target, container)
    assert inside == {"python": "/opt/environment/bin/python"}


def test_without_an_environment_a_container_names_its_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[container\] needs build .* or in the file an env"):
        _read(tmp_path, environment="", more="container = {memory_mib = 1024}")
    with pytest.raises(UsageError, match="not both"):
        _read(tmp_path, more='container = {image = "mine", build = "."}')
    target = _read(tmp_path, environment="")
    assert "or an environment, from which an image is made" in str(_refusal(target))


def test_what_an_environment_has_not_is_said_before_anything_is_built(tmp_path: Path) -> None:
    why = str(_refusal(_read(tmp_path, environment=GO)))
    assert "process worker: {python} is not in an image" in why
    assert "which has program; give environment a python" in why


def test_a_working_folder_is_copied_without_what_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = _read(tmp_path)
    left_out = (".git/config", "__pycache__/app.pyc", "web/node_modules/it/index.js", ".env")
    kept = ("data/words.txt", "web/page.html")
    for name in (*left_out, *kept, "results/runs/one/rows", "big/part", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / ".dockerignore").write_text("# ours\nbig\n*.md\n!.env\n", encoding="utf-8")
    environment, own = _own_image.recipes(target, *target.processes, pytest.fail)
    assert dict(_files(environment)).keys() == {"Dockerfile", "requirements.lock"}
    taken = {"app.py", "go.mod", "mine.toml", "requirements.lock", ".env", *kept}
    assert own.extra.keys() == {f"folder/{name}" for name in taken}


def test_a_folder_with_nothing_to_copy_takes_no_image_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    target = _read(tmp_path)
    (worker,) = target.processes
    for folder in (None, tmp_path / "empty"):
        process = worker.model_copy(update={"folder": folder})
        assert len(list(_own_image.recipes(target, process, pytest.fail))) == 1


def test_an_image_is_another_when_what_goes_into_it_is(tmp_path: Path) -> None:
    def tags(folder: Path) -> list[str]:
        target = _read(folder)
        made = _own_image.recipes(target, *target.processes, pytest.fail)
        return [_fingerprint(each, {"BASE": "one"}) for each in made]

    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "words.txt").write_text("a" * 100_000, encoding="utf-8")
    assert tags(one) == tags(other)
    before = tags(other)
    # However big it is, and of the same size.
    (other / "words.txt").write_text("b" * 100_000, encoding="utf-8")
    after = tags(other)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    (other / "more.py").touch()
    assert tags(other) not in (before, after)


@pytest.mark.parametrize(("name", "brought"), [("celery-redis", True), ("bullmq", False)])
def test_this_machine_has_what_an_ingress_program_needs_wherever_the_target_runs(
    monkeypatch: pytest.MonkeyPatch, name: str, *, brought: bool
) -> None:
    docker, local = (load(runtimes, each, "runtime").RUNTIME for each in ("docker", "local"))
    made: list[str] = []
    monkeypatch.setattr(environments, "bring", lambda target, _: made.append(target.name))
    monkeypatch.setattr(recovery, "recover", lambda _: [])
    monkeypatch.setattr(type(docker), "prepare", lambda *_: None)
    # It is given back as it was.
    monkeypatch.setenv(MARK, "")
    path = str(FRAMEWORKS / name / f"{name}.toml")
    (cell,) = cells(Catalogue.here(), EXPERIMENT, [path], [])
    prepare([Placed(cell, docker)])
    assert made == [name] * brought
    local.prepare([], [cell.target], pytest.fail)
    assert made == [name] * (brought + 1)


def test_what_a_dockerfile_copies_is_known_by_all_that_it_holds(tmp_path: Path) -> None:
    def tag(text: str) -> str:
        (tmp_path / "requirements.lock").write_text(text * 100_000, encoding="utf-8")
        return _fingerprint(Recipe("mine", tmp_path), {})

    assert tag("a") == tag("a") != tag("b")

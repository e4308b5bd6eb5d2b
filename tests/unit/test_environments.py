"""A target's own environment: what its file may say, and what is said where it cannot be made."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from lossmeter.errors import ExitCode, UnavailableError, UsageError
from lossmeter.plan.target import Target, load_target
from lossmeter.world import programs
from lossmeter.world.install import environments
from lossmeter.world.install.environments import node, python

FRAMEWORKS = Path(__file__).resolve().parents[2] / "targets" / "frameworks"
FILES = sorted(each for each in FRAMEWORKS.glob("*/*.toml") if each.stem != "promises")
TARGET = """
name = "mine"
summary = "a dispatcher of my own"
ack_level = "broker"
services = ["postgres"]
environment = {%s}
[start]
command = ["{python}", "app.py"]
[ingress]
kind = "python"
call = "app:send"
[persisted]
query = "select producer, sequence from events"
"""


def _target(folder: Path, environment: str) -> Target:
    path = folder / "mine.toml"
    path.write_text(TARGET % environment, encoding="utf-8")
    return load_target(path)


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_each_framework_pins_what_it_needs_by_hashes(file: Path) -> None:
    target = load_target(file)
    assert target.name == file.stem
    assert target.environment is not None
    for kind, lock in target.environment.files():
        text = lock.read_text(encoding="utf-8")
        if kind == "python":
            packages = [line for line in text.splitlines() if "==" in line]
            assert packages
            assert text.count("--hash=sha256:") >= len(packages)
        elif kind == "node":
            parts = json.loads(text)["packages"]
            assert all("integrity" in part for name, part in parts.items() if name)
        else:
            assert lock.with_name("go.sum").is_file()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ("", "name at least one of python, node, go"),
        ('python = "no.lock"', "there is no file"),
        ('node = "yarn.lock"', "is not a package-lock.json"),
        ('node = "package-lock.json"', "there is no file .*package.json"),
        ('go = "main.go"', "is not a go.mod"),
        ('ruby = "Gemfile.lock"', "environment.ruby: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_an_environment_is_refused(
    tmp_path: Path, environment: str, said: str
) -> None:
    for name in ("yarn.lock", "package-lock.json", "main.go"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=said):
        _target(tmp_path, environment)


def test_without_one_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").touch()
    target = _target(tmp_path, 'python = "requirements.lock"')
    assert environments.bring(target.model_copy(update={"environment": None})) == {}
    assert target.own_python


@pytest.mark.usefixtures("_own_cache")
def test_a_missing_tool_is_named_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FRAMEWORKS / "bullmq" / name, tmp_path / name)
    target = _target(tmp_path, 'node = "package-lock.json"')
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "node" else None)
    with pytest.raises(
        UnavailableError, match=r"mine: environment: npm is missing, .*install Node"
    ):
        environments.bring(target)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UnavailableError, match="mine: environment: node is missing") as raised:
        environments.bring(target)
    assert raised.value.exit_code is ExitCode.USAGE
    monkeypatch.setattr(python.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UnavailableError, match="uv is missing"):
        python.bring(tmp_path / "package.json", "here", lambda _: None)


@pytest.mark.usefixtures("_own_cache")
def test_a_package_of_another_hash_is_not_installed(tmp_path: Path) -> None:
    package = tmp_path / "mine-1.0.tar.gz"
    (tmp_path / "setup.py").write_text("raise SystemExit('not what was locked')", encoding="utf-8")
    with tarfile.open(package, "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "mine-1.0/setup.py")
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"mine @ {package.as_uri()} --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    said: list[str] = []
    target = _target(tmp_path, 'python = "requirements.lock"')
    with pytest.raises(UnavailableError, match=r"(?i)hash mismatch.*; check the file") as raised:
        environments.bring(target, said.append)
    assert raised.value.exit_code is ExitCode.USAGE
    assert len(said) == 1
    assert "installing the Python packages of requirements.lock, once" in said[0]
    # One without any hash is as little to be trusted.
    lock.write_text(f"mine @ {package.as_uri()}\n", encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"(?i)hash"):
        environments.bring(target)
    assert not [each for each in (tmp_path / "cache").iterdir() if each.name != ".locks"]


@pytest.mark.usefixtures("_own_cache")
def test_an_environment_is_made_once_and_nothing_beside_its_lock(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "requirements.lock").write_text("# nothing\n", encoding="utf-8")
    target, said = _target(folder, 'python = "requirements.lock"'), []
    first = environments.bring(target, said.append)
    assert environments.bring(target, said.append) == first
    assert len(said) == 1
    assert Path(first["python"]).is_relative_to(tmp_path / "cache")
    assert sorted(each.name for each in folder.iterdir()) == ["mine.toml", "requirements.lock"]


@pytest.mark.usefixtures("_own_cache")
def test_packages_go_into_the_environment_wherever_the_user_has_them_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    wrong = {"PIP_USER": "1", "PIP_TARGET": str(elsewhere), "PIP_PREFIX": str(elsewhere)}
    wrong |= {"UV_TARGET": str(elsewhere), "UV_PREFIX": str(elsewhere), "UV_SYSTEM_PYTHON": "1"}
    wrong |= {"PIP_INDEX_URL": "http://127.0.0.1:9", "VIRTUAL_ENV": str(elsewhere)}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    wheel = tmp_path / "mine-1.0-py3-none-any.whl"
    about = "mine-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("mine.py", "")
        packed.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"mine @ {wheel.as_uri()} --hash=sha256:{digest}\n", encoding="utf-8")
    made = environments.bring(_target(tmp_path, 'python = "requirements.lock"'))
    program = (made["python"], "-I", "-c", "import mine; print(mine.__file__)")
    ended = programs.run(program, 30)
    assert Path(ended.out.strip()).is_relative_to(tmp_path / "cache"), ended
    assert not elsewhere.exists()


@pytest.mark.usefixtures("_own_cache")
def test_a_changed_application_is_copied_anew_beside_the_same_packages(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    folder.mkdir()
    own = {"name": "mine", "version": "1.0.0"}
    (folder / "package.json").write_text(json.dumps(own), encoding="utf-8")
    packages = {"": own}
    lock = {**own, "lockfileVersion": 3, "requires": True, "packages": packages}
    (folder / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    (folder / "web.mjs").write_text("1", encoding="utf-8")
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    said: list[str] = []
    apps = []
    for text in ("1", "1", "2"):
        (folder / "web.mjs").write_text(text, encoding="utf-8")
        apps.append(Path(node.bring(folder / "package-lock.json", "here", said.append)["app"]))
    assert len(said) == 1
    assert apps[0] == apps[1] != apps[2]
    assert (apps[2] / "web.mjs").read_text(encoding="utf-8") == "2"
    assert not (folder / "node_modules").exists()

"""From where jars are downloaded: what this machine's settings of Maven say, or Central."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lossmeter.errors import CacheError
from lossmeter.world.install import maven

SETTINGS = """<?xml version="1.0"?>
<settings{namespace}>
  <servers><server>
    <id>company</id><username>me</username><password>${{env.MAVEN_PASSWORD}}</password>
  </server></servers>
  <mirrors>
    <mirror><id>other</id><mirrorOf>spring</mirrorOf><url>https://other.invalid/x</url></mirror>
    <mirror><id>company</id><mirrorOf>{of}</mirrorOf><url>https://mirror.invalid/all/</url></mirror>
  </mirrors>
</settings>
"""
NAMESPACE = ' xmlns="http://maven.apache.org/SETTINGS/1.0.0"'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (maven.VARIABLE, "MAVEN_HOME", "M2_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAVEN_PASSWORD", "secret")
    (tmp_path / ".m2").mkdir()
    return tmp_path


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
@pytest.mark.parametrize("of", ["*", "central", "external:*", "spring,central"])
def test_the_mirror_of_central_is_taken_with_its_login(home: Path, of: str, namespace: str) -> None:
    (home / ".m2" / "settings.xml").write_text(SETTINGS.format(of=of, namespace=namespace))
    found = maven.repository()
    assert str(found) == "https://mirror.invalid/all"
    assert "secret" not in repr(found)
    request = found.request("a/b.jar")
    assert request.full_url == "https://mirror.invalid/all/a/b.jar"
    login = base64.b64encode(b"me:secret").decode()
    assert request.get_header("Authorization") == f"Basic {login}"


@pytest.mark.parametrize("of", ["spring", "*,!central"])
def test_a_mirror_of_others_is_not(home: Path, of: str) -> None:
    (home / ".m2" / "settings.xml").write_text(SETTINGS.format(of=of, namespace=""))
    assert maven.repository().url == maven._CENTRAL


def test_what_is_named_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".m2" / "settings.xml").write_text(SETTINGS.format(of="*", namespace=""))
    monkeypatch.setenv(maven.VARIABLE, "https://me:p%40ss@named.invalid/maven2/")
    found = maven.repository()
    assert (found.url, found.login) == ("https://named.invalid/maven2", "me:p@ss")


@pytest.mark.parametrize("named", ["maven", "ftp://x/y"])
def test_an_address_that_is_none_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(maven.VARIABLE, named)
    with pytest.raises(CacheError, match="is not the address of a Maven repository"):
        maven.repository()


def test_damaged_settings_are_named(home: Path) -> None:
    (home / ".m2" / "settings.xml").write_text("<settings>")
    with pytest.raises(CacheError, match=r"settings\.xml cannot be read"):
        maven.repository()


def test_without_a_home_it_is_central(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert maven.repository().url == maven._CENTRAL

"""The lock of Kafka's jars, and what a download says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmeter.errors import CacheError
from lossmeter.world.install import cache, maven
from lossmeter.world.install.progress import Progress
from lossmeter.world.services import _kafka_jars


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    return folder


JAR = _kafka_jars.Jar("0" * 64, 1_000, "org.example", "server", "1.0")


def test_a_jar_with_another_checksum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    forged = tmp_path / "repository" / JAR.path
    forged.parent.mkdir(parents=True)
    forged.write_text("not what was locked", encoding="utf-8")
    monkeypatch.setenv(maven.VARIABLE, (tmp_path / "repository").as_uri())

    said: list[str] = []
    with pytest.raises(CacheError, match=r"org.example:server:1.0 was downloaded with sha256"):
        cache.entry("kafka", "1.0", lambda to: _kafka_jars.download((JAR,), to, said.append))

    assert not list(root.glob("*kafka-1.0*"))


def test_the_lock_is_complete() -> None:
    jars = _kafka_jars.locked()

    assert len({(jar.group, jar.artifact) for jar in jars}) == len(jars) > 40
    assert set(_kafka_jars.ROOTS) <= {str(jar) for jar in jars}


def test_a_wrong_line_of_the_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "kafka.lock"
    lock.write_text(f"{'0' * 64}  12  a:b:c\nabc  12  d:e:f\n", encoding="utf-8")

    with pytest.raises(CacheError, match=r"kafka.lock:2 reads 'abc  12  d:e:f'"):
        _kafka_jars.locked(lock)


def test_a_download_says_how_far_it_has_come_every_two_seconds() -> None:
    said: list[str] = []
    now = iter([0.0, 1.0, 4.0, 5.0, 8.0])
    progress = Progress("kafka", 50_000_000, said.append, lambda: next(now))
    for _ in range(4):
        progress.add(10_000_000)
    assert said == ["kafka: 20.0 of 50.0 MB, 6 s left", "kafka: 40.0 of 50.0 MB, 2 s left"]


def test_without_a_network_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("to").mkdir()
    monkeypatch.setenv(maven.VARIABLE, "http://user:secret@127.0.0.1:9/maven")
    monkeypatch.setattr("time.sleep", lambda _: None)

    sentence = r"could not be downloaded from http://127.0.0.1:9/maven: Connection.*; connect"
    with pytest.raises(CacheError, match=sentence):
        _kafka_jars.download((JAR,), tmp_path / "to", print)

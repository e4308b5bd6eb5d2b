from __future__ import annotations

import os

import pytest

from lossmeter_dispatcher.config import ConfigurationError, Settings, from_environment

NEEDED = {"DISPATCHER_PORT": "8080", "DISPATCHER_DATABASE__URL": "postgresql://x@127.0.0.1/x"}


def _read(monkeypatch: pytest.MonkeyPatch, **more: str) -> Settings:
    for name in [name for name in os.environ if name.startswith("DISPATCHER_")]:
        monkeypatch.delenv(name)
    for name, value in (NEEDED | {f"DISPATCHER_{k}": v for k, v in more.items()}).items():
        monkeypatch.setenv(name, value)
    return from_environment()


def test_the_defaults_are_those_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch)
    assert (settings.queue.type, settings.queue.bound) == ("channel", 1000)
    assert (settings.workers, settings.handler.time_s) == (5, 0.05)
    assert (settings.push.when_full, settings.push.timeout_s) == ("block", 5.0)
    assert settings.retry.attempts == 0
    assert settings.dead_letter.kind == "none"
    assert (settings.shutdown.mode, settings.shutdown.sleep_s) == ("sleep", 2.0)
    assert (settings.shutdown.poll_s, settings.shutdown.limit_s) == (1.0, 30.0)


def test_redis_has_a_buffer_of_5000(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, QUEUE__TYPE="redis", QUEUE__ADDRESS="127.0.0.1:6379")
    assert settings.queue.bound == 5000


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"WORKERS": "0"}, "DISPATCHER_WORKERS"),
        ({"WORKERS": "many"}, "DISPATCHER_WORKERS"),
        ({"QUEUE__CAPACITY": "0"}, "DISPATCHER_QUEUE__CAPACITY"),
        ({"QUEUE__CAPACTY": "9"}, "DISPATCHER_QUEUE__CAPACTY"),
        ({"WORKRES": "9"}, "DISPATCHER_WORKRES is not a setting"),
        ({"QUEUE__TYPE": "redis"}, "needs QUEUE__ADDRESS"),
        ({"PUSH__WHEN_FULL": "explode"}, "DISPATCHER_PUSH__WHEN_FULL"),
        ({"PUSH__WHEN_FULL": "rate-limit"}, "need each other"),
        ({"PUSH__RATE_PER_S": "5"}, "need each other"),
        ({"DEAD_LETTER__KIND": "file"}, "need each other"),
        ({"DEAD_LETTER__REPLAY_EVERY_S": "5"}, "needs a DEAD_LETTER__KIND"),
        ({"SHUTDOWN__MODE": "drain", "SHUTDOWN__POLL_S": "0"}, "DISPATCHER_SHUTDOWN__POLL_S"),
        ({"PORT": "0"}, "DISPATCHER_PORT"),
    ],
)
def test_what_is_wrong_is_said(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _read(monkeypatch, **more)
    assert said in str(caught.value)

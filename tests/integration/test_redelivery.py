"""What a killed worker had in hand: given again and late, or left in the broker for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import lossmeter

SOURCE = Path(__file__).parents[1] / "support" / "stream_dispatcher.py"

# More comes than its two workers of 100 ms an event can do: they always have some in hand.
EXPERIMENT = """
[experiment]
hypothesis = "What a worker had in hand is given to another."
targets = ["stream.toml"]

[load]
rate_per_s = 40
duration_s = 2

[bounds]
max_lost = 0

[[fault]]
kind = "sigkill"
when = "queue_length >= 10"
"""
TARGET = """
name = "stream"
summary = "two workers on a Redis stream"
ack_level = "broker"
services = ["redis"]

[start]
command = ["{{python}}", "{source}"]
[start.environment]
PORT = "{{port}}"
REDIS = "{{redis.url}}"
ROWS = "{{run_folder}}/rows.jsonl"
RECLAIM_S = "{reclaim_s}"

[http]
events = "/jobs"
health = "/ping"
body = '{{"producer": $producer, "sequence": $sequence, "payload": "$payload"}}'
accepted = [202]

[persisted]
kind = "jsonl"
file = "rows.jsonl"
payload = "payload"
persisted_at = "at"
quiet_s = 0.5
settle_limit_s = 60

[queue]
kind = "redis"
keys = ["jobs"]
group = "workers"
redelivered_after_s = {promised_s}
pending = {{}}
"""


@pytest.mark.parametrize("reclaim_s", [5, ""], ids=["late", "stranded"])
def test_what_was_in_hand_is_late_or_stranded_and_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reclaim_s: int | str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "killed.toml").write_text(EXPERIMENT)
    said = TARGET.format(source=SOURCE, reclaim_s=reclaim_s, promised_s=reclaim_s or 1)
    (tmp_path / "stream.toml").write_text(said)
    ran = lossmeter("run", "killed.toml", "--runtime", "local", "--seed", "1", "--json", "-")
    (result,) = ran.results()
    counts = result["counts"]
    told = f"{result['reason']}\n{ran.err}"
    assert counts["acked"] >= 20, told
    assert counts["lost"] == 0, told
    held = counts["delivered"] + counts["lost"] + counts["pending"] + counts["stranded"]
    assert held == counts["acked"], told
    if reclaim_s:
        assert (result["verdict"], counts["stranded"]) == ("pass", 0), told
        assert counts["late"] >= 1, told
        assert result["late_by_s"] >= 4.9, told
        assert "delivered late, up to" in result["reason"]
    else:
        assert result["verdict"] == "fail", told
        assert 1 <= counts["stranded"] <= 10, told
        assert f"stranded {counts['stranded']} is above the budget of 0" in result["reason"]
        assert "stranded: 3 planted, 3 found" in result["self_proof"]

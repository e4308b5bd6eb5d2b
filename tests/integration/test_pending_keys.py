"""A run whose target names the wrong keys for what its broker still holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import lossmeter

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
# More comes than its one worker of 100 ms an event can do: it always has one in hand.
SLOW = ("            done.write(", "            __import__('time').sleep(0.1); done.write(")
EXPERIMENT = """
[experiment]
hypothesis = "What a worker had in hand is lost, and what waited is not."
targets = ["list-worker.toml"]

[load]
rate_per_s = 25
duration_s = 2

[bounds]
max_lost = 0

[[fault]]
kind = "sigkill"
when = "queue_length >= 10"
"""


@pytest.mark.parametrize("key", ["jobs", "jbos"])
def test_what_is_missing_is_not_called_lost_where_the_broker_may_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "killed.toml").write_text(EXPERIMENT)
    text = (EXAMPLES / "list-worker.toml").read_text()
    asked = text.replace("pending = {}", f'pending = {{keys = ["{key}"]}}')
    assert asked != text
    (tmp_path / "list-worker.toml").write_text(asked)
    worker = (EXAMPLES / "list_worker.py").read_text()
    assert SLOW[0] in worker
    (tmp_path / "list_worker.py").write_text(worker.replace(*SLOW))
    ran = lossmeter("run", "killed.toml", "--runtime", "local", "--seed", "1", "--json", "-")
    (result,) = ran.results()
    told = f"{result['reason']}\n{ran.err}"
    assert result["counts"]["lost"] == 1, told
    doubt = "[queue.pending] found no event, although for "
    unmeasured = {"pending", "stranded"} & set(result["not_measured"])
    if key == "jobs":
        assert result["verdict"] == "fail", told
        assert unmeasured == set(), told
        assert doubt not in told
    else:
        assert result["verdict"] == "inconclusive", told
        assert unmeasured == {"pending", "stranded"}, told
        assert f"1 event that is called lost may wait in the broker: {doubt}" in result["reason"]
        assert doubt in ran.err

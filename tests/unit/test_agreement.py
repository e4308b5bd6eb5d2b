"""Locust's master shares the load out among the workers that were asked for, and no others."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from lossmeter.load.process import load_command
from tests.support.answering import steady_plan

# In a process of its own, since Locust patches the one that imports it.
MASTER = """
import gevent, json, sys
from pathlib import Path
from types import SimpleNamespace
from locust.rpc import Message
from locust.runners import STATE_INIT, STATE_MISSING, WorkerNodes
from lossmeter.load.agreement import Master
from lossmeter.load.plan import LoadPlan

class Runner:
    def __init__(self):
        self.clients, self.server = WorkerNodes(), self
        self.sent, self.shards, self.taken = [], {}, []
    def register_message(self, *_):
        pass
    def send_to_client(self, msg):
        self.sent.append((msg.type, msg.node_id))
    def send_message(self, kind, data, client):
        self.shards[client] = data["shard"]
    def handle_message(self, client, msg):
        self.taken.append((client, msg.type))
        if msg.type == "client_ready":
            self.clients[client] = SimpleNamespace(id=client, state=STATE_INIT)

runner = Runner()
master = Master(runner, LoadPlan.load(Path(sys.argv[1])))
master.prepare()
def comes(client):
    runner.handle_message(client, Message("client_ready", "2", client))
comes("killed")
runner.clients["killed"].state = STATE_MISSING
comes("first")
comes("second")
comes("third")
comes("first")
master._begin()
runner.clients["first"].state = STATE_MISSING
comes("late")
runner.handle_message("second", Message("stats", {}, "second"))
gevent.sleep(1)
print(json.dumps([runner.taken, runner.shards, runner.sent]))
"""


def test_a_worker_too_many_gets_no_share_and_is_sent_home(tmp_path: Path) -> None:
    """It came while the others waited, or when the load was under way."""
    load_command(replace(steady_plan(tmp_path, 9), processes=2), limit_s=60)
    command = (sys.executable, "-P", "-c", MASTER, str(tmp_path / "load-plan.json"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    taken, shards, sent = json.loads(done.stdout)
    ready = [client for client, kind in taken if kind == "client_ready"]
    assert ready == ["killed", "first", "second", "first"]
    assert ["second", "stats"] in taken
    # Nor does one that is gone already.
    assert shards == {"first": 0, "second": 1}
    assert sent == [[kind, name] for kind in ("ack", "quit") for name in ("third", "late")]

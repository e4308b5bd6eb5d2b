"""Locust's master hears from those alone who know the secret, and answers them alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lossmeter.load.acquainted import SECRET_VARIABLE
from lossmeter.world.ports import free_port

# In processes of their own, since Locust patches the one that imports it.
MASTER = """
import os, sys
from lossmeter.load.acquainted import get_acquainted
get_acquainted(os.environ["LOSSMETER_LOAD_SECRET"])
import gevent
from locust.rpc import Message, rpc
server = rpc.Server("127.0.0.1", int(sys.argv[1]))
print("listening", flush=True)
while True:
    who, message = server.recv_from_client()
    print(who, flush=True)
    server.send_to_client(Message("answer", None, who))
"""
WORKER = """
import os, sys
from lossmeter.load.acquainted import get_acquainted
if known := os.environ["LOSSMETER_LOAD_SECRET"]:
    get_acquainted(known)
import gevent
from locust.rpc import Message, rpc
client = rpc.Client("127.0.0.1", int(sys.argv[1]), sys.argv[2])
client.send(Message("client_ready", None, sys.argv[2]))
with gevent.Timeout(float(sys.argv[3]), False):
    print(client.recv().type)
os._exit(0)
"""


def _worker(port: int, name: str, secret: str, within_s: float) -> str:
    command = (sys.executable, "-P", "-c", WORKER, str(port), name, str(within_s))
    given = os.environ | {SECRET_VARIABLE: secret}
    done = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def test_only_who_knows_the_secret_is_heard_and_answered(tmp_path: Path) -> None:
    port = free_port()
    heard = tmp_path / "heard"
    given = os.environ | {SECRET_VARIABLE: "the secret"}
    command = (sys.executable, "-P", "-c", MASTER, str(port))
    with (
        heard.open("wb") as out,
        subprocess.Popen(command, env=given, stdout=out) as master,
    ):
        try:
            assert _worker(port, "guessing", "another secret", 2) == ""
            assert _worker(port, "plain", "", 2) == ""
            assert _worker(port, "invited", "the secret", 30) == "answer"
        finally:
            master.kill()
    assert heard.read_text().split() == ["listening", "invited"]

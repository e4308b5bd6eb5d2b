"""A master and its load processes know each other by a secret that both were given.

Whoever reached the master's port could otherwise take a share of the load, or give workers
another plan. The secret stands for the master's key of CurveZMQ: who does not know it gets
nothing across, and nothing that they send reaches Locust.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Any

SECRET_VARIABLE = "LOSSMETER_LOAD_SECRET"  # noqa: S105 - the name of one


def secret() -> str:
    """Return the secret of this process's runs: the one in its environment, or a new one."""
    known = os.environ.get(SECRET_VARIABLE) or secrets.token_urlsafe(24)
    os.environ[SECRET_VARIABLE] = known
    return known


def get_acquainted(known: str) -> None:
    """Have all of Locust's sockets that are made from now on demand the secret, or show it."""
    import zmq  # noqa: PLC0415 - only in load processes
    from locust.rpc import zmqrpc  # noqa: PLC0415 - patches the process
    from zmq.utils import z85  # noqa: PLC0415 - only in load processes

    masters = z85.encode(hashlib.sha256(f"lossmeter load {known}".encode()).digest())
    plain = zmqrpc.BaseSocket.__init__

    def prepare(base: Any, kind: int, *more: Any) -> None:
        plain(base, kind, *more)  # type: ignore[no-untyped-call]
        if kind == zmq.ROUTER:
            base.socket.curve_server = True
            base.socket.curve_secretkey = masters
        else:
            base.socket.curve_publickey, base.socket.curve_secretkey = zmq.curve_keypair()
            base.socket.curve_serverkey = zmq.curve_public(masters)

    zmqrpc.BaseSocket.__init__ = prepare  # type: ignore[method-assign]

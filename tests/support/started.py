"""Servers that tests start by themselves, as a runtime would."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from lossmeter.model import Address
from lossmeter.world.ownership import MARK
from lossmeter.world.ports import LOOPBACK, free_port
from lossmeter.world.service import ProcessSpec, Service, Slot, further_of
from lossmeter.world.services import discover

T = TypeVar("T")
PASSWORD = "a-Password_of-24-letters"
OWNER = "owner-of-a-test"
READY_S = 120.0
NAMES = sorted(discover())


def loopback() -> Address:
    return Address(LOOPBACK, free_port())


def has_ended(process: psutil.Process) -> bool:
    try:
        # Whoever inherits orphans may take seconds to notice that they ended.
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass
class Server:
    """One server in a folder of its own, as a runtime would run it."""

    service: Service
    slot: Slot
    user: pwd.struct_passwd | None
    process: subprocess.Popen[bytes] | None = None

    def popen(self, spec: ProcessSpec) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            spec.argv,
            env={"PATH": os.environ["PATH"], MARK: OWNER, **spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.slot.folder,
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
            start_new_session=True,
        )

    def run(self, spec: ProcessSpec) -> None:
        assert self.popen(spec).wait(60) == 0, spec.argv

    def start(self) -> None:
        self.process = self.popen(self.service.process(self.slot))
        deadline = time.monotonic() + READY_S
        while not self.service.ready(self.slot):
            assert self.process.poll() is None, "it ended while it was starting"
            assert time.monotonic() < deadline, "it was not ready in time"
            time.sleep(0.05)

    def stop(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def kill(self) -> None:
        family = self.family()
        assert self.process is not None
        self.process.kill()
        assert self.process.wait() == -9
        # PostgreSQL refuses to start again while its orphans hold the shared memory.
        deadline = time.monotonic() + 10
        while not all(has_ended(process) for process in family):
            assert time.monotonic() < deadline, "its children outlive it"
            time.sleep(0.005)

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def in_each_process(self, look: Callable[[psutil.Process], Iterable[T]]) -> set[T]:
        seen: set[T] = set()
        for process in self.family():
            # PostgreSQL's workers come and go.
            with suppress(psutil.NoSuchProcess):
                seen.update(look(process))
        return seen

    @property
    def variables(self) -> dict[str, str]:
        return self.service.variables(self.slot, self.slot.listen)


@contextmanager
def prepared(name: str, advertised: Address | None = None) -> Iterator[Server]:
    service = discover()[name]
    service.install(lambda _: None)
    steps_down = service.unprivileged and os.geteuid() == 0
    user = pwd.getpwnam("nobody") if steps_down else None
    # Not pytest's folder, which other users cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="lossmeter-test-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    listen = loopback()
    further = {each: loopback() for each in further_of(service)}
    slot = Slot(folder, listen, advertised or listen, PASSWORD, further=further)
    server = Server(service, slot, user)
    try:
        service.prepare(server.slot, server.run)
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
        shutil.rmtree(folder)

"""What runtimes have in common when they start a target: its command, its first answer."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from lossmeter.errors import FaultError, TargetError, UsageError
from lossmeter.plan.http import Http
from lossmeter.plan.processes import ALONE
from lossmeter.plan.target import Target
from lossmeter.world.caller import Caller
from lossmeter.world.ports import LOOPBACK, is_free
from lossmeter.world.process_table import command
from lossmeter.world.runtimes._instances import Part
from lossmeter.world.runtimes._own_image import unfit
from lossmeter.world.site import Process

REDIRECT = 3
UNASKED = "in mid-run, which no fault asked for"


def answers_ok(base_url: str, http: Http, caller: Caller | None = None) -> bool:
    """Return whether an instance says that it is up.

    Args:
        base_url: of the instance.
        http: how it is spoken to.
        caller: speaks so, for who asks again and again; by default a new one.

    Raises:
        UsageError: it answers with a redirect, which no waiting turns into a 200.
    """
    answer = (caller or Caller(http)).ask(base_url, http.is_up)
    if answer is not None and answer.status // 100 == REDIRECT:
        raise UsageError(
            f"{up_url(base_url, http)} answers {answer.status}, not 200; name in the target's file "
            f"the path that it redirects to: {answer.location[:200] or 'it names none'}"
        )
    return answer is not None and answer.ok


def up_url(base_url: str, http: Http) -> str:
    """Return where an instance says that it is up."""
    return base_url + http.path(http.is_up)


def spoken(target: Target, part: Part) -> Http | None:
    """Return how a part is asked over HTTP whether it is up; None where it is not.

    What takes requests is spoken to as ``[http]`` says, any other process plainly.
    """
    path = part.process.health.http if part.process.health else None
    if path is None:
        return None
    known = target.http if part.process.name == target.front else Http()
    return known.model_copy(update={"ready": path})


def not_ready(target: Target, part: Part, asked: str, why: str) -> TargetError:
    """Return the error for a part that was not healthy in time, with what it answers."""
    http = spoken(target, part)
    answer = Caller(http).ask(part.url, http.is_up) if http else None
    answers = f" (it answers {answer.status})" if answer else ""
    return TargetError(f"{called(target, part)}, {asked}{answers}, {why}")


def check_port_free(target: Target, part: Part) -> None:
    """Check that nothing listens where a part of the target is to listen.

    Raises:
        UsageError: something does.
    """
    if part.port is None or is_free(LOOPBACK, part.port):
        return
    fixed = "start.port" if part.name == ALONE else "port"
    where = fixed if part.process.port == part.port else "its port"
    held = f"{called(target, part)}: {where} {part.port} on {LOOPBACK} is in use"
    if holders := holding(part.port):
        held += f" by process {holders[0]} ({command(holders[0])})"
    raise UsageError(f"{held}; stop what listens there or name another")


def called(target: Target, part: Part) -> str:
    """Return how a part is called in sentences."""
    alone = part.name == ALONE
    return f"target {target.name}" if alone else f"target {target.name}, process {part.name}"


def holding(port: int) -> list[int]:
    """Return the processes that listen on a port of the loopback, where that can be seen."""
    return [
        each.pid
        for each in psutil.net_connections("tcp")
        if each.laddr and each.laddr.port == port and each.status == psutil.CONN_LISTEN and each.pid
    ]


def one_of(processes: Sequence[Process], pid: int) -> Process:
    """Return the process of that id.

    Raises:
        FaultError: it is none of these.
    """
    for process in processes:
        if process.pid == pid:
            return process
    running = ", ".join(f"{each.pid} ({each.name})" for each in processes) or "none"
    raise FaultError(f"process {pid} is none of the target's, which are: {running}")


def check_attached(target: Target, base_url: str) -> None:
    """Check that a dispatcher that the harness did not start answers.

    Raises:
        UsageError: it does not.
    """
    if not answers_ok(base_url, target.http):
        url = up_url(base_url, target.http)
        raise UsageError(
            f"target {target.name}: nothing answers 200 on {url}; start the dispatcher "
            "first, or correct attach.url and http.health"
        )


def no_container(target: Target) -> str | None:
    """Return why a target cannot run in a container, or None."""
    for process in target.processes:
        try:
            container = target.container_of(process)
        except UsageError as error:
            return str(error)
        build = container.build
        if build is not None and not (build / "Dockerfile").is_file():
            return f"target {target.name}: container.build: there is no Dockerfile in {build}"
        if container.by_itself and (why := unfit(target, process)):
            return why
    return None

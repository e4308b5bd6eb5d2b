"""Targets of several processes on every runtime, what these start, and what does not start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossmeter.errors import FaultError, TargetError
from lossmeter.faults import _children
from lossmeter.faults._fault import choose
from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.processes import Container, Health, Process
from lossmeter.plan.target import Target
from lossmeter.world.runtime import Runtime
from lossmeter.world.server_pool import ServerPool
from lossmeter.world.site import Grouped, Killable, ProcessTree, Startable, Stoppable
from tests.support.processes import with_a_child
from tests.support.sites import Up, assert_nothing_to_recover, runtime_named, up_on

NOTES = Path(__file__).parents[1] / "support" / "images" / "notes"
SIGKILL = 9


def test_processes_of_the_target_are_listed_and_killed(
    runtime: Runtime, tmp_path: Path, pool: ServerPool
) -> None:
    target = Catalogue.here().target("channel")
    if ProcessTree not in runtime.capabilities(target):
        pytest.skip(str(ProcessTree.__doc__).partition("\n")[0])
    with up_on(runtime, tmp_path, with_a_child(target), pool=pool) as up:
        site = up.site
        assert isinstance(site, ProcessTree)
        main = site.incarnation()
        own = {each.pid: each for each in site.processes()}
        assert own[main.pid].start_ticks == main.start_ticks
        (child,) = [each for each in own.values() if each.name == "sleep"]
        assert child.parent in own
        site.kill_process(child.pid)
        deadline = time.monotonic() + 5
        while child.pid in {each.pid for each in site.processes()}:
            assert time.monotonic() < deadline, "it was not killed"
        up.site.check()
        with pytest.raises(FaultError, match="process 1 is none of the target's, which are: "):
            site.kill_process(1)
        assert site.kill_tree().signal == SIGKILL
        assert site.processes() == []
        up.site.check()
        site.start()
        assert up.probe.wait_for(lambda s: s.ok, 5) is not None
    assert_nothing_to_recover(runtime)


def test_who_holds_the_port_of_a_killed_target_is_named_and_removed(
    tmp_path: Path, pool: ServerPool
) -> None:
    local, target = runtime_named("local"), Catalogue.here().target("channel")
    assert target.start is not None
    # As an entry point without exec: the child survives the kill, and goes on serving.
    script = "{python} -m lossmeter_dispatcher & wait"
    start = target.start.model_copy(update={"command": ("/bin/sh", "-c", script)})
    with up_on(local, tmp_path, target.model_copy(update={"start": start}), pool=pool) as up:
        site = up.site
        assert isinstance(site, ProcessTree)
        site.kill()
        (child,) = site.processes()
        site.start()
        assert site.removed() == [f"process {child.pid} ({child.name})"]
        assert up.probe.wait_for(lambda s: s.ok, 5) is not None
    assert_nothing_to_recover(local)


def of_several(target: Target) -> Target:
    """Return the target as one of four processes, each with another kind of health."""
    assert target.start is not None
    ask = "import os, urllib.request as u; u.urlopen(os.environ['AT'], timeout=5)"
    notes = "trap 'exit 7' INT; echo notes taken $WHERE; while :; do sleep 0.1; done"
    serve = 'python3 -c "$ASK" && exec {python} -P -m lossmeter_dispatcher'
    processes = (
        Process(
            name="notes",
            command=("/bin/sh", "-c", notes),
            count=2,
            health=Health(log="notes taken"),
            stop_signal="SIGINT",
            container=Container(build=NOTES),
        ),
        Process(
            name="files",
            command=("{python}", "-m", "http.server", "--bind", "{host}", "{port}"),
            health=Health(tcp=True),
        ),
        Process(
            name="web",
            command=("/bin/sh", "-c", serve),
            environment=target.start.environment | {"AT": "{files.url}", "ASK": ask},
        ),
        Process(
            name="late",
            command=("/bin/sh", "-c", "sleep 600 & sleep 600 & wait"),
            environment={"AT": "{web.url}/healthz"},
            health=Health(command=("{python}", "-c", ask)),
        ),
    )
    http = target.http.model_copy(update={"process": "web"})
    return target.model_copy(update={"start": None, "process": processes, "http": http})


@pytest.fixture(scope="module")
def several(
    runtime: Runtime, tmp_path_factory: pytest.TempPathFactory, pool: ServerPool
) -> Iterator[Up]:
    """A site whose target is of several processes, each healthy and left so by each test."""
    target = of_several(Catalogue.here().target("channel"))
    if why := runtime.refuses(target):
        pytest.skip(why)
    with up_on(runtime, tmp_path_factory.mktemp("several"), target, pool=pool) as up:
        yield up
    assert_nothing_to_recover(runtime)


def test_processes_start_in_order_and_are_struck_each_alone(runtime: Runtime, several: Up) -> None:
    site = several.site
    assert isinstance(site, Grouped)
    assert site.parts == ["notes-0", "notes-1", "files", "web", "late"]
    assert (site.part, site.watched) == ("web", True)
    logs = {part: several.folder / "logs" / f"{part}.log" for part in site.parts}
    assert all(log.exists() for log in logs.values())
    own_image = "in an image of their own" in logs["notes-1"].read_text()
    assert own_image == (runtime.name != "local")

    one, other = site.at("notes-1"), site.at("notes-0")
    assert isinstance(one, Killable)
    assert isinstance(one, Stoppable)
    assert isinstance(other, Startable)
    lives = one.incarnation(), other.incarnation()
    assert one.kill().signal == SIGKILL
    site.check()
    assert other.incarnation() == lives[1]
    assert one.start().pid != lives[0].pid
    # Its own signal asks it to end, and it has a way of its own to do so.
    stopped = one.stop(10)
    assert (stopped.exit.code, stopped.killed_ns, stopped.signal.name) == (7, None, "SIGINT")
    one.start()
    site.check()
    assert all(sample.ok for sample in several.probe.samples())


STRUCK: list[tuple[str, dict[str, str | int | float], int]] = [
    ("sigkill", {"process": "notes"}, 2),
    ("stop", {"process": "notes-0"}, 1),
    ("pause", {"process": "late"}, 1),
    ("sigkill", {"process": "late", "whom": "child"}, 1),
    ("sigkill", {"process": "late", "whom": "tree"}, 1),
    ("sigkill", {"whom": "tree"}, 5),
]


@pytest.mark.parametrize(("name", "parameters", "parts"), STRUCK)
def test_a_fault_proves_itself_at_each_process_that_it_names(
    several: Up,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    parameters: dict[str, str | int | float],
    parts: int,
) -> None:
    monkeypatch.setattr(_children, "ANOTHER_WITHIN_S", 0.2)
    assert several.probe.wait_for(lambda sample: sample.ok, 5) is not None
    fault = choose(name, parameters).build()
    evidence = [*fault.inject(several.site), *fault.heal(several.site)]
    assert not [each for each in evidence if not each.holds]
    assert len({each.source for each in evidence}) >= 2
    assert len({each.value.partition(":")[0] for each in evidence}) == parts
    several.site.check()


def test_a_target_that_never_gets_ready_is_stopped_again(runtime: Runtime, tmp_path: Path) -> None:
    target = Catalogue.here().target("channel")
    assert target.start is not None
    slow = target.start.model_copy(update={"command": ("/bin/sleep", "60"), "ready_s": 0.5})
    with (
        pytest.raises(TargetError, match=r"asked on http.*, was not ready within 0\.5 s"),
        up_on(runtime, tmp_path, target.model_copy(update={"start": slow})),
    ):
        pass
    assert_nothing_to_recover(runtime)


def test_a_process_that_never_gets_healthy_is_named(runtime: Runtime, tmp_path: Path) -> None:
    several = of_several(Catalogue.here().target("channel"))
    if why := runtime.refuses(several):
        pytest.skip(why)
    notes, *others = several.process
    silent = notes.model_copy(update={"health": Health(log="never said"), "ready_s": 0.5})
    target = several.model_copy(update={"process": (silent, *others)})
    said = "process notes-0, which was to log 'never said', was not ready within"
    with pytest.raises(TargetError, match=said), up_on(runtime, tmp_path, target):
        pass
    assert not (tmp_path / "logs" / "files.log").exists()
    assert_nothing_to_recover(runtime)


def test_nobody_but_the_target_may_write_into_its_folder(
    runtime: Runtime, tmp_path: Path, pool: ServerPool
) -> None:
    target = Catalogue.here().target("channel")
    assert target.start is not None
    # As a program that is root's on this machine, where the container's user is root.
    script = "cp /bin/true {run_folder}/up; chmod 6755 {run_folder}/up; "
    script += "exec {python} -m lossmeter_dispatcher"
    start = target.start.model_copy(update={"command": ("/bin/sh", "-c", script)})
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    with up_on(runtime, folder, target.model_copy(update={"start": start}), pool=pool):
        inner = (folder / "target").stat()
        # Either it is the target's alone, or nobody else comes as far.
        assert inner.st_mode & 0o077 == 0 or folder.stat().st_mode & 0o077 == 0
        assert (folder / "target" / "up").stat().st_mode & 0o6000
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "target").stat().st_mode & 0o022 == 0
    if runtime.name != "local":
        assert (folder / "target" / "up").stat().st_mode & 0o6000 == 0

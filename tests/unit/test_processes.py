"""Targets of several processes: what is wrong with them is said before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lossmeter.errors import UsageError
from lossmeter.experiment import Experiment, PlannedFault, Trigger, Variant, steady
from lossmeter.faults._fault import choose, clash
from lossmeter.model import Predicted
from lossmeter.plan.catalogue import Catalogue, Cell
from lossmeter.plan.target import Target, load_target
from lossmeter.plugins import load
from lossmeter.run.admission import check
from lossmeter.world import runtimes

COMMON = """
name = "mine"
summary = "of several processes"
ack_level = "broker"
services = ["postgres"]
[persisted]
query = "select producer, sequence from job"
"""
WEB = """
[[process]]
name = "web"
command = ["web", "--port", "{port}"]
"""
WORKER = """
[[process]]
name = "worker"
command = ["work"]
"""


def read(folder: Path, text: str) -> Target:
    path = folder / "mine.toml"
    path.write_text(COMMON + text)
    return load_target(path)


def test_each_is_healthy_by_what_is_usual_for_it(tmp_path: Path) -> None:
    files = """
    [[process]]
    name = "files"
    command = ["serve"]
    port = 8099
    """
    target = read(tmp_path, WORKER + WEB + files)
    assert target.front == "web"
    kinds = [each.health.model_dump(exclude_none=True) for each in target.processes if each.health]
    assert kinds == [{"runs_s": 1.0}, {"http": "/healthz"}, {"tcp": True}]


def test_start_is_the_short_form_for_one(tmp_path: Path) -> None:
    target = read(tmp_path, '[start]\ncommand = ["serve"]\nport = 8099')
    (process,) = target.processes
    assert (process.name, process.port, process.count) == (target.front, 8099, 1)
    assert process.instances(1) == ["target"]
    assert process.instances(2) == ["target-0", "target-1"]


def test_what_extends_a_target_may_have_several_in_place_of_one(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(COMMON + '[start]\ncommand = ["serve"]')
    path = tmp_path / "more.toml"
    path.write_text(f'extends = "one"\nname = "more"\n{WEB}{WORKER}')
    assert [each.name for each in load_target(path).processes] == ["web", "worker"]


def test_a_folder_is_found_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (process,) = read(tmp_path, f'{WEB}folder = "there"').processes
    assert process.folder == tmp_path / "there"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WEB + WORKER + WORKER, "process 'worker' is there 2 times"),
        (WEB + '[start]\ncommand = ["serve"]', "exactly one of [start] (one process), [[process]]"),
        (WEB + "count = 0", "process.0.count: Input should be greater than or equal to 1"),
        (WEB + 'stop_signal = "SIGKILL"', "'SIGKILL' does not ask to end; right is SIGTERM, "),
        (WEB + 'health = { tcp = true, log = "up" }', "exactly one of http, tcp, command, log, "),
        (WEB + "health = {}", "got none"),
        (WEB + "health = { runs_s = 60 }", "health.runs_s is 60, and ready_s"),
        (WEB + WORKER + "health = { tcp = true }", "health asks at its port, and it has none"),
        (WEB + 'folder = "away"', "process web: there is no folder"),
        (WEB + 'environment = { AT = "{worker.url}" }' + WORKER, "{worker.url} is of neither"),
        (WORKER, "no process has a port"),
        (WEB + WORKER + '[http]\nprocess = "worker"', "'worker' has no port"),
        (WEB + '[http]\nprocess = "front"', "'front' is none of the processes, which are web"),
        (WEB.replace("web", "postgres"), "process 'postgres' has the name of a server"),
        (WEB.replace("web", "web-1"), "'web-1' ends in a number, as instances do"),
        (WEB.replace('"web"', '"Web site"'), "'Web site' is no name of a process"),
        (WEB.replace('name = "web"', 'name = "load"'), "'load' is the name of a log"),
        (WEB + "port = 80" + WORKER + "port = 80", "port 80 is fixed for 2 processes"),
        (WEB + "colour = 3", "process.0.colour: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def cell(target: Target, fault: str, **parameters: Any) -> Cell:
    faults = (PlannedFault(fault, Trigger(at_s=1), parameters=parameters),)
    variant = Variant("", steady(50, 3), faults)
    experiment = Experiment("struck", "x", (variant,), (), lambda _: Predicted())
    return Cell(experiment, variant, target, None)


@pytest.mark.parametrize(
    ("fault", "named", "said"),
    [
        ("sigkill", "wroker", "process of target mine 'wroker' does not exist; did you mean 'wo"),
        ("stop", "worker-2", "'worker-2' does not exist; did you mean 'worker-"),
        ("pause", "web-0", "'web-0' does not exist; did you mean 'web'"),
        ("panic", "worker", "process worker of target mine has no port; name one that has"),
    ],
)
def test_a_fault_on_a_process_that_is_not_there(
    tmp_path: Path, fault: str, named: str, said: str
) -> None:
    target = read(tmp_path, WEB + WORKER + "count = 2")
    with pytest.raises(UsageError) as caught:
        check(cell(target, fault, process=named), load(runtimes, "local", "runtime").RUNTIME)
    assert said in str(caught.value)


@pytest.mark.parametrize("named", ["worker", "worker-1", "web", ""])
def test_a_fault_on_one_that_is_there_is_admitted(tmp_path: Path, named: str) -> None:
    target = read(tmp_path, WEB + WORKER + "count = 2")
    local = load(runtimes, "local", "runtime").RUNTIME
    assert check(cell(target, "sigkill", process=named), local) is None


def test_a_fault_on_an_instance_that_only_the_variant_asks_for(tmp_path: Path) -> None:
    target = read(tmp_path, WEB + WORKER)
    struck = cell(target, "sigkill", process="web-1")
    local = load(runtimes, "local", "runtime").RUNTIME
    with pytest.raises(UsageError, match="does not exist"):
        check(struck, local)
    assert check(replace(struck, variant=replace(struck.variant, instances=2)), local) is None


def test_a_cluster_refuses_a_question_about_the_pods_own_name_in_a_sentence(
    tmp_path: Path,
) -> None:
    asks = 'health = { command = ["ask", "{instance}"] }\n'
    target = read(tmp_path, WEB + WORKER + asks + '[container]\nimage = "mine"')
    kubernetes = load(runtimes, "kubernetes", "runtime").RUNTIME
    assert "process worker: health.command asks for {instance}" in str(kubernetes.refuses(target))


def test_a_process_may_have_an_image_of_its_own(tmp_path: Path) -> None:
    own = 'container = { image = "mine", python = "/opt/python", port = 9000 }\n'
    alone = read(tmp_path, WEB + own + WORKER)
    docker = load(runtimes, "docker", "runtime").RUNTIME
    assert "process worker does not say how it runs in a container" in str(docker.refuses(alone))
    both = read(tmp_path, WEB + own + WORKER + '[container]\nbuild = "there"')
    assert "there is no Dockerfile in" in str(docker.refuses(both))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "Dockerfile").touch()
    assert docker.refuses(both) is None
    web, worker = both.processes
    assert both.container_of(web).port == 9000
    assert both.container_of(worker).build == tmp_path / "there"
    beside = read(tmp_path, WEB + 'container = { build = "there" }\n')
    assert beside.container_of(*beside.processes).build == tmp_path / "there"


def test_what_a_child_or_a_tree_is_does_not_show_from_the_host() -> None:
    with pytest.raises(UsageError, match="whom = 'child' needs by = 'runtime'"):
        choose("sigkill", {"whom": "child", "by": "host"})
    with pytest.raises(UsageError, match="right is main, child or tree"):
        choose("sigkill", {"whom": "sibling"})


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("", "", "the target"),
        ("web", "", "process web"),
        ("web", "worker", None),
        ("worker", "worker", "process worker"),
        ("worker-0", "worker-1", None),
        ("worker-1", "worker", "process worker-1"),
        ("mail-out", "mail", None),
    ],
)
def test_two_faults_hold_at_once_on_different_processes(
    one: str, other: str, both: str | None
) -> None:
    first = choose("sigkill", {"process": one})
    second = choose("pause", {"process": other})
    assert clash(first, second, ()) == both
    assert (clash(second, first, ()) is None) == (both is None)


def test_the_shipped_targets_are_of_one_process() -> None:
    names = Catalogue.here().target_names()
    assert all(len(Catalogue.here().target(name).processes) == 1 for name in names)

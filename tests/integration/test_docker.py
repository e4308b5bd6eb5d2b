"""The Docker runtime as a user meets it: nothing left behind, strangers untouched, plain words."""

from __future__ import annotations

import json
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pika
import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from lossmeter.errors import ExitCode, UnavailableError, UsageError
from lossmeter.faults._fault import choose
from lossmeter.plan.catalogue import Catalogue
from lossmeter.world.queues import queue_options
from lossmeter.world.runtimes import _docker_engine
from lossmeter.world.runtimes._docker_events import RUN_LABEL
from lossmeter.world.runtimes._docker_images import LOG_LINES
from lossmeter.world.runtimes.docker import DockerSite
from lossmeter.world.services import discover
from tests.support.program import Running, loading, lossmeter, until
from tests.support.servers import Server
from tests.support.sites import on_engine, runtime_named, up_on
from tests.support.stores import Mysql, Webhook

RUN = ("run", "crash", "--target", "channel", "--variant", "full", "--runtime", "docker")
CONTROL = ("run", "control", "--target", "channel", "--runtime", "docker", "--json", "-")


@pytest.fixture(autouse=True)
def _engine() -> None:
    runtime_named("docker")


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def stranger(client: docker.DockerClient) -> Iterator[Container]:
    """A container of somebody else's, in a network of somebody else's."""
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    image = next(tag for image in client.images.list("lossmeter/redis") for tag in image.tags)
    network = client.networks.create(name)
    container = client.containers.run(image, name=name, network=name, detach=True)
    yield container
    container.remove(force=True)
    network.remove()


def test_after_success_nothing_is_left(project: Path) -> None:
    done = lossmeter(*CONTROL)
    assert done.code == 0, done.err
    assert on_engine(f":{done.pid}:") == []
    assert done.results()[0]["runtime"] == "docker"
    (folder,) = (project / "results" / "runs").iterdir()
    for name in ("target.log", "postgres.log", "toxiproxy.log", "load.log"):
        assert (folder / "logs" / name).exists(), name
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["servers"]["engine"].startswith("Docker ")


def test_an_interrupt_leaves_nothing(project: Path, background: Callable[..., Running]) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    assert on_engine(f":{running.popen.pid}:")
    running.send(signal.SIGINT)
    assert running.end().code == ExitCode.INTERRUPTED
    assert on_engine(f":{running.popen.pid}:") == []


@pytest.mark.alone
def test_recover_removes_what_a_killed_harness_left_and_no_stranger(
    project: Path,
    client: docker.DockerClient,
    stranger: Container,
    background: Callable[..., Running],
) -> None:
    running = background(*RUN)
    until(lambda: loading(project / "results" / "runs"))
    running.send(signal.SIGKILL)
    running.end()
    assert on_engine(f":{running.popen.pid}:"), "the test needs something to recover"
    images = {image.id for image in client.images.list()}

    done = lossmeter("recover")

    assert done.code == 0, done.err
    assert "removed container" in done.out
    assert on_engine(f":{running.popen.pid}:") == []
    stranger.reload()
    assert stranger.status == "running"
    assert images <= {image.id for image in client.images.list()}


def test_a_broken_event_stream_is_evidence_against_the_fault(tmp_path: Path) -> None:
    fault = choose("sigkill", {}).build()
    with up_on(runtime_named("docker"), tmp_path, Catalogue.here().target("channel")) as up:
        assert isinstance(up.site, DockerSite)
        events = up.site._events
        assert events is not None
        events._stream.close()
        until(lambda: events.broken, 10)
        evidence = fault.inject(up.site) + fault.heal(up.site)
    (engine,) = [each for each in evidence if each.source == "engine-events"]
    assert not engine.holds
    assert "event stream broke" in engine.value


@pytest.mark.parametrize("target", ["redis", "kafka"])
def test_each_image_can_be_replaced_by_another(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str
) -> None:
    runtime, wanted = runtime_named("docker"), Catalogue.here().target(target)
    runtime.prepare([discover()[name] for name in (*wanted.services, "toxiproxy")], [wanted], print)
    # What the user's settings of Docker say of proxies is for other containers.
    proxies = {"proxies": {"default": {"httpProxy": "http://127.0.0.1:9"}}}
    (tmp_path / "config.json").write_text(json.dumps(proxies))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in (*wanted.services, "toxiproxy"):
        image = client.images.list(f"lossmeter/{name}")[0]
        image.tag("somebody-else", name)
        monkeypatch.setenv(f"LOSSMETER_IMAGE_{name.upper()}", f"somebody-else:{name}")
    with up_on(runtime, tmp_path, wanted) as up:
        assert isinstance(up.site, DockerSite)
        mark = up.site._servers.owner.mark
        servers = client.containers.list(filters={"label": f"{RUN_LABEL}={mark}"})
        images = {str(each.attrs["Config"]["Image"]) for each in servers}
        assert images == {f"somebody-else:{name}" for name in (*wanted.services, "toxiproxy")}
        assert not [each for s in servers for each in s.attrs["Config"]["Env"] if ":9" in each]
        assert up.probe.wait_for(lambda sample: sample.ok, 5) is not None
    for name in (*wanted.services, "toxiproxy"):
        client.images.remove(f"somebody-else:{name}", noprune=True)


def test_stores_in_containers_are_written_and_read(tmp_path: Path) -> None:
    runtime, channel = runtime_named("docker"), Catalogue.here().target("channel")
    servers = ("postgres", "mariadb", "webhook", "rabbitmq")
    wanted = channel.model_copy(update={"services": servers, "proxied": servers})
    runtime.prepare([discover()[name] for name in (*servers, "toxiproxy")], [wanted], print)
    with up_on(runtime, tmp_path, wanted) as up:
        for name, kind in (("mariadb", Mysql), ("webhook", Webhook)):
            direct = up.site.endpoints[name].direct
            written = kind(
                tmp_path, Server(direct["address"], direct["password"], "", direct["url"])
            )
            written.write([{"producer": 1, "sequence": n, "payload": "p"} for n in range(3)])
            auditor = written.auditor()
            auditor.check()
            assert auditor.count() == 3
            assert up.site.versions[name].split()[0] in {"MariaDB", "Python"}
        broker = up.site.endpoints["rabbitmq"].direct
        with pika.BlockingConnection(pika.URLParameters(broker["url"])) as connection:
            connection.channel().queue_declare("jobs")
            table = {"kind": "amqp", "queues": ["jobs"]}
            names = {f"{{rabbitmq.{name}}}": text for name, text in broker.items()}
            length = queue_options("t", table).open(lambda text: names.get(text, text))
            assert length() == 0
            length.close()
        assert up.site.versions["rabbitmq"].split()[0] == "RabbitMQ"


# What is refused, in one sentence.


def _error(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("error:")]
    return line


@pytest.mark.usefixtures("project")
def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    done = lossmeter(*CONTROL)
    assert done.code == ExitCode.USAGE
    assert "no Docker engine answers on" in _error(done.err)
    assert "lossmeter.world.install.docker_engine" in done.err


@pytest.mark.usefixtures("project")
def test_a_socket_that_nobody_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    done = lossmeter(*CONTROL)
    assert done.code == ExitCode.USAGE
    assert "did not answer within 2 s" in _error(done.err)


def test_an_engine_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="uses only an engine on this machine"):
        _docker_engine.connect()


def test_a_context_of_the_user_s_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    with pytest.raises(UnavailableError, match=r"is 'rootless', .* socket in DOCKER_HOST"):
        _docker_engine.connect()
    monkeypatch.setenv("DOCKER_HOST", _docker_engine.DEFAULT_HOST)
    assert _docker_engine.unavailable() is None


def test_no_right_to_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may use any socket, so the answer of the kernel is what is replaced here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UnavailableError, match=r"this user may not use .*usermod -aG docker"):
        _docker_engine.connect()


@pytest.mark.usefixtures("project")
def test_auto_takes_an_engine_that_answers_and_says_so() -> None:
    arguments = ("run", "control", "--target", "channel", "--variant", "default")
    done = lossmeter(*arguments, "--json", "-")
    assert done.code == 0, done.err
    assert "runtime docker: its engine answers" in done.err
    assert done.results()[0]["runtime"] == "docker"


@pytest.mark.usefixtures("project")
def test_auto_falls_back_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    done = lossmeter("run", "control", "--target", "channel", "--json", "-")
    assert done.code == 0, done.err
    assert "runtime local: not docker, since no Docker engine answers" in done.err
    assert done.results()[0]["runtime"] == "local"


def test_an_image_that_cannot_be_built_shows_the_end_of_its_log(project: Path) -> None:
    folder = project / "mine"
    folder.mkdir()
    script = "for i in $(seq 40); do echo line $i; done; exit 3"
    (folder / "Dockerfile").write_text(f"ARG BASE\nFROM ${{BASE}}\nRUN {script}\n")
    text = (project / "targets" / "channel.toml").read_text()
    text = text.replace('name = "channel"', 'name = "mine"', 1)
    (project / "mine.toml").write_text(text.replace('build = "dispatcher"', 'build = "mine"'))
    done = lossmeter(*CONTROL, "--target", "mine.toml")
    assert done.code == ExitCode.HARNESS_ERROR
    assert "image mine could not be built" in _error(done.err)
    shown = [line for line in done.err.splitlines() if line.startswith("line ")]
    assert 0 < len(shown) <= LOG_LINES
    assert shown[-1] == "line 40"


def test_a_port_in_use(project: Path) -> None:
    # Beside the shipped ones, where the folder that its image is built from is.
    path = project / "targets" / "mine.toml"
    text = (project / "targets" / "channel.toml").read_text()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        path.write_text(text.replace("[start]\n", f"[start]\nport = {port}\n"))
        done = lossmeter("run", "control", "--runtime", "docker", "--target", str(path))
    assert done.code == ExitCode.USAGE
    assert f"start.port {port} on 127.0.0.1 is in use" in _error(done.err)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("write /var/lib/x: no space left on device", UnavailableError, "disk .* is full"),
        (
            "Error starting userland proxy: listen tcp4 127.0.0.1:20001: bind: address in use",
            UsageError,
            "127.0.0.1:20001 is in use",
        ),
        (
            "Bind for 127.0.0.1:20001 failed: port is already allocated",
            UsageError,
            "127.0.0.1:20001 is in use",
        ),
        (
            "could not find an available, non-overlapping IPv4 address pool",
            UnavailableError,
            "docker network prune",
        ),
    ],
)
def test_what_an_engine_says_becomes_one_sentence(
    said: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        raise _docker_engine.explain(RuntimeError(said), "container postgres")


def test_an_image_that_does_not_exist(client: docker.DockerClient, project: Path) -> None:
    name = f"lossmeter/none-{uuid.uuid4().hex[:8]}:1"
    with pytest.raises(NotFound):
        client.images.get(name)
    text = (project / "targets" / "channel.toml").read_text()
    wrong = text.replace('build = "dispatcher"', f'image = "{name}"')
    wrong = wrong.replace('name = "channel"', 'name = "mine"', 1)
    (project / "mine.toml").write_text(wrong)
    done = lossmeter(*CONTROL, "--target", "mine.toml")
    assert done.code == ExitCode.USAGE
    assert f"image {name} is not on this machine and cannot be pulled" in _error(done.err)

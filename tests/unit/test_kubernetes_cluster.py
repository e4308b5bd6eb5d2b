"""The cluster of one node: what it is told, and clear words where it cannot be had."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from lossmeter.errors import UnavailableError
from lossmeter.world.install.kubernetes import machine, pause_image, programs, traces
from lossmeter.world.install.kubernetes.__main__ import main
from lossmeter.world.install.kubernetes.configuration import ClusterPart, Layout, Ports
from lossmeter.world.install.kubernetes.processes import Processes
from lossmeter.world.runtimes import _kube_access as access

PORTS = Ports(20001, 20002, 20003, 20004, 20005, 20006)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path))
    return _laid(access.own_folder())


def _laid(folder: Path) -> Layout:
    (folder / "certificates").mkdir(parents=True)
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (folder / "certificates" / name).write_text(name, encoding="ascii")
    laid = Layout(folder, Path("/usr/lib/cni"), Path("/programs"), PORTS)
    laid.write()
    return laid


def flags(part: ClusterPart) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in part.command[2:])


def test_everything_that_listens_does_so_on_this_machine_only(layout: Layout) -> None:
    api, store = flags(layout.part("kube-apiserver")), flags(layout.part("etcd"))
    assert api["bind-address"] == "127.0.0.1"
    assert store["listen-client-urls"] == "https://127.0.0.1:20002"
    assert store["listen-peer-urls"] == "https://127.0.0.1:20003"
    proxy = yaml.safe_load((layout.folder / "kube-proxy.yaml").read_text())
    assert proxy["nodePortAddresses"] == ["127.0.0.1/32"]
    assert proxy["metricsBindAddress"].startswith("127.0.0.1:")
    for name in ("kube-controller-manager", "kube-scheduler"):
        assert flags(layout.part(name))["secure-port"] == "0"


def test_folders_of_any_name_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'an "odd" <näme> \\ of: a #folder'
    monkeypatch.setenv("LOSSMETER_CACHE", str(odd))
    layout = _laid(access.own_folder())
    kubelet = yaml.safe_load((layout.folder / "kubelet.yaml").read_text())
    engine = tomllib.loads((layout.folder / "containerd.toml").read_text())
    network = json.loads((layout.folder / "cni" / "10-lossmeter.conflist").read_text())
    assert kubelet["podLogsDir"] == str(layout.folder / "pods")
    assert engine["root"] == str(layout.folder / "containerd")
    assert network["plugins"][0]["ipam"]["dataDir"] == str(layout.folder / "addresses")
    assert flags(layout.part("etcd"))["data-dir"] == str(layout.folder / "etcd")


def test_nobody_without_a_certificate_is_let_in(layout: Layout) -> None:
    assert flags(layout.part("kube-apiserver"))["anonymous-auth"] == "false"
    assert flags(layout.part("etcd"))["client-cert-auth"] == "true"
    assert flags(layout.part("etcd"))["peer-client-cert-auth"] == "true"
    kubelet = yaml.safe_load((layout.folder / "kubelet.yaml").read_text())
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["readOnlyPort"] == 0
    assert access.own_config().stat().st_mode & 0o077 == 0


def test_ports_of_nodes_are_none_that_others_are_given(layout: Layout) -> None:
    from lossmeter.world import ports

    first, last = map(
        int, flags(layout.part("kube-apiserver"))["service-node-port-range"].split("-")
    )
    assert first >= ports._RANGE.stop
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert last < int(outgoing[0])


def test_the_version_and_the_build_are_those_of_the_lock() -> None:
    assert programs.version().count(".") == 2
    replaced = (programs.MODULES.folder / "go.mod").read_text()
    minor = programs.version().partition(".")[2]
    assert f"k8s.io/kubelet => k8s.io/kubelet v0.{minor}" in replaced


def test_a_change_of_a_source_is_another_build(tmp_path: Path) -> None:
    from lossmeter.world.install.go_modules import GoModules

    shutil.copytree(programs.MODULES.folder, tmp_path / "build")
    copied = GoModules("copied", tmp_path / "build")
    before = copied.fingerprint()
    assert before == programs.MODULES.fingerprint()
    with (tmp_path / "build" / "main.go").open("a") as file:
        file.write("// changed\n")
    assert copied.fingerprint() != before


def test_the_image_that_holds_a_network_is_one_program(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"program")
    pause_image.write(program, tmp_path / "image.tar")

    with tarfile.open(tmp_path / "image.tar") as tar:
        manifest_file, layer = tar.extractfile("manifest.json"), tar.extractfile("layer.tar")
        assert manifest_file is not None
        assert layer is not None
        manifest = json.load(manifest_file)
        with tarfile.open(fileobj=layer) as inside:
            assert inside.getnames() == ["pause"]
            assert inside.getmember("pause").mode == 0o755
    assert manifest[0]["RepoTags"] == [pause_image.NAME]


# Clear words.


def test_another_system_than_linux_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UnavailableError, match="a kubelet needs Linux, and this is darwin"):
        machine.check()


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match="only root can start a kubelet"):
        machine.check()


def test_a_machine_without_control_groups_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    with pytest.raises(UnavailableError, match="does not offer the control groups memory, cpu"):
        machine.check()


def test_a_machine_without_packages_of_debian_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UnavailableError, match=r"lacks containerd, .*neither Debian nor Ubuntu"):
        machine.bring_packages()


def test_another_cluster_on_this_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "attempt", lambda *_, **__: (0, "-N KUBE-SERVICES\n"))
    with pytest.raises(UnavailableError, match="another Kubernetes runs on this machine already"):
        traces.check_unused()


def test_where_nothing_runs_there_is_nothing_to_take_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path))
    assert main(["--down"]) == 0
    assert "no cluster of this installation is here" in capsys.readouterr().err


def test_an_unknown_word_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--up"]) == 4
    assert "'--up' is not known; --down is" in capsys.readouterr().err


# Processes.


def test_only_the_process_that_was_started_is_ended(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    processes = Processes(tmp_path)
    processes.start(ClusterPart("sleeper", ("sleep", "60")), dict(os.environ))
    pid, ticks = json.loads((tmp_path / "started.json").read_text())["sleeper"]
    assert processes.running() == ["sleeper"]

    # As if the number belonged to somebody else by now.
    (tmp_path / "started.json").write_text(json.dumps({"sleeper": [pid, ticks + 1]}))
    processes.end("sleeper")
    os.kill(pid, 0)

    (tmp_path / "started.json").write_text(json.dumps({"sleeper": [pid, ticks]}))
    processes.end("sleeper")
    assert processes.running() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

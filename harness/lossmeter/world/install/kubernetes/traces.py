"""What the cluster leaves on the machine beside its processes, and taking it away."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lossmeter.errors import UnavailableError
from lossmeter.world.install.kubernetes import machine
from lossmeter.world.install.kubernetes.configuration import (
    CONTROL_GROUP,
    LINK,
    NETWORK,
    NODE_ADDRESS,
    PODS,
    SERVICES,
)
from lossmeter.world.runtimes._disks import unmount_below
from lossmeter.world.runtimes._kube_access import RUN
from lossmeter.world.waiting import wait_for

# Written by kube-proxy and for it; what was there before is put back.
SYSCTLS = ("net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet")
# Made by the kubelet wherever its own folder is; nothing lasting is in them.
FOLDERS = (Path("/var/log/containers"), Path("/var/lib/kubelet"))
# Pods reach each other, also where Docker forwards nothing else, and nobody outside.
_RULES = (
    ("FORWARD", "-s", PODS, "-d", PODS, "-j", "ACCEPT"),
    ("FORWARD", "-s", PODS, "!", "-d", NETWORK, "-j", "REJECT"),
)
_TABLES = ("filter", "nat", "mangle")
_CHAIN = "KUBE-"
_EMPTY_WITHIN_S = 10.0


def lay(folder: Path) -> None:
    """Make the node's address, its rule, its control groups; note what is changed."""
    before = {name: _sysctl(name).read_text(encoding="ascii").strip() for name in SYSCTLS}
    before |= {str(place): str(place.exists()) for place in FOLDERS}
    (folder / "before.json").write_text(json.dumps(before), encoding="ascii")
    RUN.mkdir(mode=0o711, exist_ok=True)
    machine.attempt("ip", "link", "delete", LINK)
    machine.run("ip", "link", "add", LINK, "type", "bridge")
    machine.run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", LINK)
    machine.run("ip", "link", "set", LINK, "up")
    # What is meant for a pod that has gone must not leave this machine by its default route.
    machine.attempt("ip", "route", "delete", "unreachable", NETWORK)
    machine.run("ip", "route", "add", "unreachable", NETWORK)
    _sysctl(SYSCTLS[0]).write_text("1", encoding="ascii")
    for rule in _RULES:
        if machine.attempt("iptables", "-w", "-C", *rule)[0] != 0:
            machine.run("iptables", "-w", "-I", *rule)
    for root in machine.groups():
        group = root / CONTROL_GROUP
        group.mkdir(exist_ok=True)
        _inherit(root, group)


def _inherit(root: Path, group: Path) -> None:
    """Pass on what a group of version 1 does not inherit, and of version 2 must be given."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (group / name).exists() and not (group / name).read_text(encoding="ascii").strip():
            text = (root / name).read_text(encoding="ascii") if (root / name).exists() else ""
            if text.strip():
                (group / name).write_text(text, encoding="ascii")
    control = group / "cgroup.subtree_control"
    if control.exists():
        for name in (root / "cgroup.controllers").read_text(encoding="ascii").split():
            with suppress(OSError):
                control.write_text(f"+{name}", encoding="ascii")


def sweep(folder: Path) -> list[str]:
    """Take away all of it that is there; return a line for what could not be."""
    for place in (folder, RUN):
        unmount_below(place)
    machine.attempt("ip", "link", "delete", LINK)
    machine.attempt("ip", "route", "delete", "unreachable", NETWORK)
    for rule in _RULES:
        while machine.attempt("iptables", "-w", "-D", *rule)[0] == 0:
            pass
    for table in _TABLES:
        _remove_chains(table)
    left = [f"control group {group}" for group in _remove_groups()]
    _restore(folder)
    for place in (folder, RUN):
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            left.append(f"folder {place}")
    return left + [f"rule {rule}" for rule in _rules()]


def _restore(folder: Path) -> None:
    try:
        before = json.loads((folder / "before.json").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    # Docker needs forwarding too, and may have been started meanwhile.
    docker = Path("/sys/class/net/docker0").exists()
    for name in SYSCTLS:
        if not (docker and name == SYSCTLS[0]):
            _sysctl(name).write_text(before[name], encoding="ascii")
    for place in FOLDERS:
        if before.get(str(place)) == "False":
            shutil.rmtree(place, ignore_errors=True)


def _remove_groups() -> list[Path]:
    tops = [root / CONTROL_GROUP for root in machine.groups()]

    def all_gone() -> bool:
        for group in (group for top in tops for group in _deepest_first(top)):
            with suppress(OSError):
                group.rmdir()
        return not any(top.exists() for top in tops)

    wait_for(all_gone, _EMPTY_WITHIN_S, 0.1)
    return [top for top in tops if top.exists()]


def _deepest_first(top: Path) -> Iterator[Path]:
    if top.is_dir():
        for inside in sorted(top.iterdir()):
            if inside.is_dir():
                yield from _deepest_first(inside)
        yield top


def check_unused() -> None:
    """Check that no other kube-proxy works on this machine: their rules would mix.

    Raises:
        UnavailableError: one does.
    """
    _, said = machine.attempt("iptables", "-w", "-t", "nat", "-S")
    if "-N KUBE-SERVICES" in said:
        raise UnavailableError(
            "another Kubernetes runs on this machine already, as its rules in iptables tell; "
            "use that cluster, or take it down first"
        )


def _remove_chains(table: str) -> None:
    """Remove what kube-proxy's own cleaning leaves: the ways into its chains, and they."""

    def rules() -> list[list[str]]:
        _, said = machine.attempt("iptables", "-w", "-t", table, "-S")
        return [shlex.split(line) for line in said.splitlines()]

    own = [rule[1] for rule in rules() if rule[0] == "-N" and rule[1].startswith(_CHAIN)]
    for rule in rules():
        if rule[0] == "-A" and set(own) & set(rule[2:]):
            machine.attempt("iptables", "-w", "-t", table, "-D", *rule[1:])
    for flag in ("-F", "-X"):
        for chain in own:
            machine.attempt("iptables", "-w", "-t", table, flag, chain)


def _rules() -> list[str]:
    """Return the rules that speak of the cluster's addresses and chains."""
    found = []
    for table in _TABLES:
        _, said = machine.attempt("iptables", "-w", "-t", table, "-S")
        marks = (PODS.rpartition(".")[0], SERVICES.rpartition(".")[0], _CHAIN)
        found += [line for line in said.splitlines() if any(mark in line for mark in marks)]
    return found


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")

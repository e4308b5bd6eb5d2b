"""What is asked of the Kubernetes API, as plain data: no cluster is needed to write it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossmeter.plan.http import Http
from lossmeter.plan.processes import Health
from lossmeter.world.ownership import Owner

MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "lossmeter"
PART_LABEL = "lossmeter/part"
OWNER_NOTE = "lossmeter/owner"
MACHINE_NOTE = "lossmeter/machine"
RESTART_NOTE = "lossmeter/restarted"
# The lowest of a workload's pods ends first where there are to be fewer.
ENDS_FIRST_NOTE = "controller.kubernetes.io/pod-deletion-cost"
POD_NAME = "LOSSMETER_POD"
CONTAINER = "main"
# What an image of somebody else's needs to make its folder and step down from root.
STEP_DOWN = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
CPU_REQUEST = "10m"
SMALL_MIB = 64
STARTS_ANSWER_S = 10
STARTS_NEVER = 10_000
DATA = "data"
DATA_GROUP = 10001
VOLUME_GIB = 2
NAME_LENGTH = 63

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What the pods of one part of a run are made of.

    Attributes:
        part: its name within the run, also that of its workload and its services.
        image: its image, which the nodes have already unless ``pull``.
        ports: where it listens inside.
        environment: kept in a Secret, but for what names the pod itself.
        arguments: after the image's entry point; none for the image's own.
        files: read-only files or folders: path inside, path on this machine.
        data: path inside of what must outlive a container.
        storage: class of the volume that it is on, which then outlives the pod too; None for
            the disk of the node.
        writable: other paths inside that are written to; they are in memory.
        memory_mib: limit of memory.
        ours: the image is one of ours: no capability.
        read_only: the root cannot be written.
        replicas: how many pods.
        named: each pod has a name that the one in its place has again.
        grace_s: from the wish to end it until SIGKILL.
        pre_stop_s: seconds of these before SIGTERM.
        ready: how and on which port it says all the time that it is ready; None when nobody
            asks.
        health: what it is asked until it has started, where it is not asked all the time.
        shared: a folder of this machine, and its path inside; only where the node is here.
        pull: the image comes from a registry.
    """

    part: str
    image: str
    ports: Sequence[int]
    environment: Mapping[str, str] = field(repr=False)
    arguments: Sequence[str] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    data: str | None = None
    storage: str | None = None
    writable: Sequence[str] = ()
    memory_mib: int = 512
    ours: bool = True
    read_only: bool = True
    replicas: int = 1
    named: bool = False
    grace_s: float = 30.0
    pre_stop_s: float = 0.0
    ready: tuple[Http, int] | None = None
    health: Health | None = None
    shared: tuple[Path, str] | None = None
    pull: bool = False


def namespace_name(run_id: str) -> str:
    """Return the name of a run's namespace: a DNS label, different for different runs."""
    plain = re.sub(r"[^a-z0-9-]+", "-", f"lossmeter-{run_id.lower()}").strip("-")
    if len(plain) <= NAME_LENGTH and plain == f"lossmeter-{run_id}":
        return plain
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{plain[: NAME_LENGTH - 9].rstrip('-')}-{digest}"


def namespace(name: str, owner: Owner, machine: str) -> Manifest:
    """Return the namespace of a run; its notes tell whose it is."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {MANAGED_LABEL: MANAGER},
            "annotations": {OWNER_NOTE: owner.mark, MACHINE_NOTE: machine},
        },
    }


def quota(pods: int, memory_mib: int, node_ports: int, volumes: int) -> Manifest:
    """Return the bounds of a run: what a defect of the harness could use up at most."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "run", "labels": {MANAGED_LABEL: MANAGER}},
        "spec": {
            "hard": {
                "pods": str(pods),
                "limits.memory": f"{memory_mib}Mi",
                "services.nodeports": str(node_ports),
                "persistentvolumeclaims": str(volumes),
                "requests.storage": f"{volumes * VOLUME_GIB}Gi",
            }
        },
    }


def service(part: str, name: str, ports: Sequence[int], *, outside: bool = False) -> Manifest:
    """Return a service in front of a part; one for outside gets a port on each node."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(part)},
        "spec": {
            "type": "NodePort" if outside else "ClusterIP",
            "selector": {PART_LABEL: part},
            "ports": [{"name": f"p{port}", "port": port, "targetPort": port} for port in ports],
        },
    }


def secret(blueprint: Blueprint) -> Manifest:
    """Return what its pods must know and nobody else: environment and files."""
    held = {
        _variable_key(name): value
        for name, value in blueprint.environment.items()
        if not _names_pod(value)
    }
    data = {key: base64.b64encode(value.encode()).decode() for key, value in held.items()}
    for inside, path in blueprint.files.items():
        for key, file in _files(inside, path):
            data[key] = base64.b64encode(file.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": blueprint.part, "labels": _labels(blueprint.part)},
        "data": data,
    }


def stateful_set(blueprint: Blueprint) -> Manifest:
    """Return a workload of pods that have a name and data of their own.

    They are replaced one after the other, each when the one before is gone.
    """
    spec: Manifest = {
        "replicas": blueprint.replicas,
        "serviceName": blueprint.part,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {PART_LABEL: blueprint.part}},
        "template": _template(blueprint),
    }
    if blueprint.data is not None and blueprint.storage is not None:
        spec["volumeClaimTemplates"] = [_claim(blueprint.part, blueprint.storage)]
        # A fresh volume is root's, and no server of ours is root.
        spec["template"]["spec"]["securityContext"] = {"fsGroup": DATA_GROUP}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": blueprint.part, "labels": _labels(blueprint.part)},
        "spec": spec,
    }


def _claim(part: str, storage: str) -> Manifest:
    return {
        "metadata": {"name": DATA, "labels": _labels(part)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage,
            "resources": {"requests": {"storage": f"{VOLUME_GIB}Gi"}},
        },
    }


def deployment(blueprint: Blueprint) -> Manifest:
    """Return the workload of a dispatcher: pods that are replaced one after the other.

    No pod is added while one is replaced, so that as many serve as on every other runtime.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": blueprint.part, "labels": _labels(blueprint.part)},
        "spec": {
            "replicas": blueprint.replicas,
            "selector": {"matchLabels": {PART_LABEL: blueprint.part}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "template": _template(blueprint),
        },
    }


def job(blueprint: Blueprint) -> Manifest:
    """Return the workload of what runs to its end once, in as many pods as it has replicas."""
    template = _template(blueprint)
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": blueprint.part, "labels": _labels(blueprint.part)},
        "spec": {
            "completions": blueprint.replicas,
            "parallelism": blueprint.replicas,
            # One that failed left events unsent; another in its place would not know which.
            "backoffLimit": 0,
            "template": template,
        },
    }


def scaled(replicas: int) -> Manifest:
    """Return the change that asks for another number of pods."""
    return {"spec": {"replicas": replicas}}


def restarted(stamp: str) -> Manifest:
    """Return the change by which ``kubectl rollout restart`` replaces all pods."""
    return {"spec": {"template": {"metadata": {"annotations": {RESTART_NOTE: stamp}}}}}


def _template(blueprint: Blueprint) -> Manifest:
    volumes, mounts = _volumes(blueprint)
    limit = f"{blueprint.memory_mib}Mi"
    container: Manifest = {
        "name": CONTAINER,
        "image": blueprint.image,
        "imagePullPolicy": "IfNotPresent" if blueprint.pull else "Never",
        "ports": [{"containerPort": port} for port in blueprint.ports],
        "env": _environment(blueprint),
        # No limit of the processor: being throttled is another experiment.
        "resources": {
            "requests": {"memory": limit, "cpu": CPU_REQUEST},
            "limits": {"memory": limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": blueprint.read_only,
            "capabilities": {
                "drop": ["ALL"],
                "add": [] if blueprint.ours else list(STEP_DOWN),
            },
        },
        "volumeMounts": mounts,
    }
    if blueprint.arguments:
        container["args"] = [_escaped(word) for word in blueprint.arguments]
    if blueprint.ready is not None:
        container["readinessProbe"] = {
            **_asked(*blueprint.ready),
            "periodSeconds": 1,
            "timeoutSeconds": 1,
            "failureThreshold": 3,
        }
    elif asked := _asked_at_start(blueprint):
        container["startupProbe"] = {
            **asked,
            "periodSeconds": 1,
            "timeoutSeconds": STARTS_ANSWER_S,
            # How long it may take is for the run to say, which has the reasons.
            "failureThreshold": STARTS_NEVER,
        }
    if blueprint.pre_stop_s > 0:
        container["lifecycle"] = {"preStop": _pre_stop(blueprint.pre_stop_s)}
    return {
        "metadata": {"labels": _labels(blueprint.part)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Everything is given by its address, so a cluster without names will do.
            "dnsPolicy": "Default",
            "terminationGracePeriodSeconds": round(blueprint.grace_s),
            "containers": [container],
            "volumes": volumes,
        },
    }


def _asked(http: Http | None, port: int) -> Manifest:
    """Return what a kubelet asks at a port; without HTTP, whether it takes connections."""
    if http is None or http.headers:
        # Their values may be secrets, which no manifest is to hold.
        return {"tcpSocket": {"port": port}}
    path, scheme = http.path(http.is_up), http.scheme.upper()
    return {"httpGet": {"path": path, "port": port, "scheme": scheme}}


def _asked_at_start(blueprint: Blueprint) -> Manifest:
    """Return what a kubelet asks a process until it has started; nothing where it cannot."""
    health = blueprint.health
    if health is None or not (health.at_port or health.command):
        return {}
    if health.command is not None:
        return {"exec": {"command": list(health.command)}}
    return _asked(Http(ready=health.http) if health.http else None, blueprint.ports[0])


def _pre_stop(seconds: float) -> Manifest:
    if seconds == int(seconds):
        return {"sleep": {"seconds": int(seconds)}}
    return {"exec": {"command": ["sleep", f"{seconds:g}"]}}


def _environment(blueprint: Blueprint) -> list[Manifest]:
    pod = {"name": POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    reported: list[Manifest] = [pod]
    for name, value in blueprint.environment.items():
        if _names_pod(value):
            reported.append({"name": name, "value": _escaped(value)})
        else:
            source = {"name": blueprint.part, "key": _variable_key(name)}
            reported.append({"name": name, "valueFrom": {"secretKeyRef": source}})
    return reported


def _volumes(blueprint: Blueprint) -> tuple[list[Manifest], list[Manifest]]:
    volumes: list[Manifest] = []
    mounts: list[Manifest] = []
    for number, writable in enumerate(blueprint.writable):
        # In memory, as on every other runtime; it counts towards the limit.
        volumes.append({"name": f"memory-{number}", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": f"memory-{number}", "mountPath": writable})
    if blueprint.data is not None:
        if blueprint.storage is None:
            volumes.append({"name": DATA, "emptyDir": {}})
        mounts.append({"name": DATA, "mountPath": blueprint.data})
    if blueprint.files:
        volumes.append({"name": "files", "secret": {"secretName": blueprint.part}})
    for inside, path in blueprint.files.items():
        for key, file in _files(inside, path):
            at = inside if path.is_file() else f"{inside}/{file.relative_to(path)}"
            mounts.append({"name": "files", "mountPath": at, "subPath": key, "readOnly": True})
    if blueprint.shared is not None:
        outside, at = blueprint.shared
        path_here = {"path": str(outside), "type": "Directory"}
        volumes.append({"name": "shared", "hostPath": path_here})
        mounts.append({"name": "shared", "mountPath": at})
    return volumes, mounts


def _files(inside: str, path: Path) -> list[tuple[str, Path]]:
    """Return the files of one mount with their keys in the Secret."""
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return [(_file_key(inside, file), file) for file in files]


def _file_key(inside: str, file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"file-{inside.strip('/')}-{file.name}")


def _variable_key(name: str) -> str:
    return f"variable-{name}"


def _names_pod(value: str) -> bool:
    return f"$({POD_NAME})" in value


def _escaped(value: str) -> str:
    """Return a text in which Kubernetes replaces nothing but the pod's own name."""
    return value.replace("$(", "$$(").replace(f"$$({POD_NAME})", f"$({POD_NAME})")


def _labels(part: str) -> dict[str, str]:
    return {MANAGED_LABEL: MANAGER, PART_LABEL: part}

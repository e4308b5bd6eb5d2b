"""What is asked of a cluster, and which cluster is asked; none is needed for that."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from lossmeter.plan.catalogue import Catalogue
from lossmeter.plan.http import Http
from lossmeter.run.set_up import graces
from lossmeter.world.ownership import Owner
from lossmeter.world.runtimes import _kube_access as access
from lossmeter.world.runtimes import _kube_manifests as manifests
from lossmeter.world.runtimes._kube_images import full_name
from lossmeter.world.runtimes._kube_manifests import Blueprint
from lossmeter.world.runtimes._kube_pods import address_of, is_ready, wall_ns

PRINT = Blueprint(
    part="target",
    image="docker.io/lossmeter/dispatcher:1",
    ports=[8080],
    environment={"URL": "postgresql://u:secret@10.0.0.1/db", "NAME": "d-$(LOSSMETER_POD)"},
    arguments=["python3", "-m", "lossmeter_dispatcher"],
    replicas=2,
    grace_s=60,
    pre_stop_s=5,
    memory_mib=256,
    ready=(Http(ready="/readyz"), 8080),
)


def template(blueprint: Blueprint) -> dict[str, object]:
    spec: dict[str, object] = manifests.deployment(blueprint)["spec"]["template"]["spec"]
    return spec


def container(blueprint: Blueprint) -> dict[str, object]:
    first: dict[str, object] = template(blueprint)["containers"][0]  # type: ignore[index]
    return first


# Manifests.


def test_a_dispatcher_is_a_deployment_with_replicas_grace_pre_stop_probe_and_limit() -> None:
    made = manifests.deployment(PRINT)

    assert made["kind"] == "Deployment"
    assert made["spec"]["replicas"] == 2
    assert template(PRINT)["terminationGracePeriodSeconds"] == 60
    assert container(PRINT)["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert container(PRINT)["readinessProbe"]["httpGet"] == {  # type: ignore[index]
        "path": "/readyz",
        "port": 8080,
        "scheme": "HTTP",
    }
    assert container(PRINT)["resources"]["limits"] == {"memory": "256Mi"}  # type: ignore[index]


def test_a_pre_stop_of_less_than_a_second_is_slept_by_a_command() -> None:
    short = Blueprint("target", "i", [1], {}, grace_s=5, pre_stop_s=0.2)

    assert container(short)["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "0.2"]}}}


def test_a_pod_is_given_the_pre_stop_of_a_rollout_but_not_that_of_a_stop_which_waits_itself() -> (
    None
):
    def asked(experiment: str, variant: str) -> dict[str, float]:
        variants = {each.name: each for each in Catalogue.here().experiment(experiment).variants}
        return graces(variants[variant])

    assert asked("drain", "kubelet") == {"grace_s": 55, "pre_stop_s": 0}
    assert asked("grace", "30s-pre5-drain") == {"grace_s": 30, "pre_stop_s": 5}


def test_what_runs_once_is_never_started_again() -> None:
    made = manifests.job(Blueprint("load", "i", [], {}, replicas=3))

    assert (made["spec"]["completions"], made["spec"]["parallelism"]) == (3, 3)
    assert made["spec"]["backoffLimit"] == 0
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_no_pod_gets_a_token_of_the_api_or_a_capability() -> None:
    assert template(PRINT)["automountServiceAccountToken"] is False
    security = container(PRINT)["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": []},
    }


def test_passwords_are_kept_in_a_secret_and_nowhere_else() -> None:
    assert "secret@" not in json.dumps(manifests.deployment(PRINT))
    held = manifests.secret(PRINT)["data"]
    assert base64.b64decode(held["variable-URL"]) == b"postgresql://u:secret@10.0.0.1/db"
    assert "variable-NAME" not in held


def test_nothing_but_the_pods_own_name_is_replaced_in_what_a_target_file_says() -> None:
    odd = Blueprint("target", "i", [1], {"A": "$(HOME) $(LOSSMETER_POD)"}, arguments=["$(HOME)"])

    reported = {each["name"]: each.get("value") for each in container(odd)["env"]}  # type: ignore[attr-defined]
    assert reported["A"] == "$$(HOME) $(LOSSMETER_POD)"
    assert container(odd)["args"] == ["$$(HOME)"]


def test_a_server_keeps_its_data_over_a_restart_and_gets_its_files(tmp_path: Path) -> None:
    (tmp_path / "server.properties").write_text("a=b", encoding="utf-8")
    server = Blueprint("kafka", "i", [9092], {}, files={"/etc/kafka": tmp_path}, data="/data")

    made = manifests.stateful_set(server)

    assert made["kind"] == "StatefulSet"
    mounts = made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "data", "mountPath": "/data"} in mounts
    file = next(mount for mount in mounts if mount["name"] == "files")
    assert file["mountPath"] == "/etc/kafka/server.properties"
    assert base64.b64decode(manifests.secret(server)["data"][file["subPath"]]) == b"a=b"


def test_a_server_whose_data_has_a_storage_class_claims_a_volume_and_may_write_it() -> None:
    server = Blueprint("redis", "i", [6379], {}, data="/data", storage="fast")

    spec = manifests.stateful_set(server)["spec"]

    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    pod = spec["template"]["spec"]
    assert pod["securityContext"] == {"fsGroup": 10001}
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in pod["containers"][0][
        "volumeMounts"
    ]
    assert pod["volumes"] == []


@pytest.mark.parametrize(
    "run_id",
    ["20261125T095657Z-crash-7", "x" * 200, "20261125T095657Z-short-grace-5s-drain-2147483647"],
)
def test_a_namespace_has_a_name_that_kubernetes_takes(run_id: str) -> None:
    name = manifests.namespace_name(run_id)

    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert name != manifests.namespace_name(run_id + "1")


def test_a_namespace_tells_whose_it_is() -> None:
    owner = Owner.this_process("run")
    notes = manifests.namespace("n", owner, "machine")["metadata"]["annotations"]

    assert Owner.parse(notes[manifests.OWNER_NOTE]) == owner


def test_a_run_is_bounded() -> None:
    assert manifests.quota(5, 1024, 3, 2)["spec"]["hard"] == {
        "pods": "5",
        "limits.memory": "1024Mi",
        "services.nodeports": "3",
        "persistentvolumeclaims": "2",
        "requests.storage": "4Gi",
    }


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("lossmeter/redis:1", "docker.io/lossmeter/redis:1"),
        ("redis:7", "docker.io/library/redis:7"),
        ("registry.example/a/b:1", "registry.example/a/b:1"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
    ],
)
def test_an_image_is_called_as_containerd_calls_it(image: str, full: str) -> None:
    assert full_name(image) == full


# What pods tell.


def test_a_pod_that_is_being_deleted_is_not_ready_whatever_it_says() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.7"}

    assert is_ready({"metadata": {}, "status": status})
    ending = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert not is_ready({"metadata": ending, "status": status})
    assert address_of({"metadata": {}, "status": status}) == "10.0.0.7"
    assert address_of({"metadata": {}}) == ""


def test_times_of_the_api_are_utc() -> None:
    assert wall_ns("1970-01-01T00:00:02Z") == 2 * 10**9
    assert wall_ns(None) == 0


# Which cluster.


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text("{}", encoding="utf-8")
    monkeypatch.setenv(access.CONFIG_VARIABLE, str(file))
    return file


def test_a_cluster_that_is_not_marked_as_fit_for_tests_is_refused(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(access.CONTEXT_VARIABLE, "production")
    monkeypatch.delenv(access.ALLOW_VARIABLE, raising=False)

    said = access.unavailable()

    assert said is not None
    assert f"context 'production' of {config} is not marked as fit for tests" in said
    assert "--allow-context production" in said


def test_marking_one_context_marks_no_other(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del config
    monkeypatch.setenv(access.CONTEXT_VARIABLE, "production")
    monkeypatch.setenv(access.ALLOW_VARIABLE, "staging,product")

    assert "not marked as fit for tests" in str(access.unavailable())


def test_a_marked_context_that_the_file_does_not_have_is_told(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(access.CONTEXT_VARIABLE, "mine")
    monkeypatch.setenv(access.ALLOW_VARIABLE, "mine")

    assert f"context 'mine' of {config} cannot be used" in str(access.unavailable())


def test_a_kubeconfig_that_does_not_exist_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(access.CONFIG_VARIABLE, str(tmp_path / "none"))

    assert "there is no such file" in str(access.unavailable())


def test_the_kubeconfig_of_other_tools_is_never_taken_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(access.CONFIG_VARIABLE, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "theirs"))
    monkeypatch.setenv("LOSSMETER_CACHE", str(tmp_path / "cache"))

    assert access.config_file() == tmp_path / "cache" / "kubernetes-cluster" / "kubeconfig"
    assert "lossmeter.world.install.kubernetes" in str(access.unavailable())

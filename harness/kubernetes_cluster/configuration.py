"""What each part of the cluster is told: one small cluster, on the loopback, in two folders."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.kubernetes_cluster import pause_image
from harness.ownership import this_boot
from harness.ports import LOOPBACK
from harness.runtimes._kube_access import HERE_LABEL, OWN_CONTEXT, RUN, SOCKET, own_config

NODE = "lossmeter"
LINK = "lossmeter0"
# Private, and none of those that Docker or other clusters take by default.
NETWORK = "10.213.0.0/16"
NODE_ADDRESS = "10.213.255.1"
PODS = "10.213.0.0/20"
SERVICES = "10.213.128.0/20"
# Above what harness.ports gives out, and below what Linux gives to outgoing connections.
NODE_PORTS = "32000-32767"
CONTROL_GROUP = "lossmeter-kubernetes"
CONTROLLERS = (
    *("deployment", "replicaset", "statefulset", "job", "endpointslice", "namespace"),
    *("garbage-collector", "resourcequota", "disruption", "pod-garbage-collector"),
    *("node-lifecycle", "persistentvolume-binder"),
    *("persistentvolume-protection", "persistentvolumeclaim-protection"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the cluster: its name, and its command."""

    name: str
    command: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where its parts listen on the loopback."""

    api: int
    etcd: int
    peer: int
    kubelet: int
    health: int
    proxy: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of the cluster lies.

    Attributes:
        folder: what it keeps.
        plugins: Debian's network plugins.
        programs: what was built.
        ports: where it listens.
    """

    folder: Path
    plugins: Path
    programs: Path
    ports: Ports

    @property
    def certificates(self) -> Path:
        """Return the folder of its keys."""
        return self.folder / "certificates"

    def write(self) -> None:
        """Write every file that its parts read; the certificates are there already."""
        for name in ("logs", "cni", "etcd", "kubelet", "containerd"):
            (self.folder / name).mkdir(exist_ok=True)
        self._text("containerd.toml", self._containerd())
        self._json("cni/10-lossmeter.conflist", self._network())
        self._json("kubelet.json", self._kubelet())
        self._json("kube-proxy.json", self._proxy())
        kubeconfig = own_config()
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(json.dumps(self._kubeconfig(), indent=1), encoding="utf-8")

    def engine(self) -> Part:
        """Return containerd, a second one beside any that runs already."""
        return Part("containerd", ("containerd", "--config", str(self.folder / "containerd.toml")))

    def store(self) -> Part:
        """Return etcd, which here need not survive the machine."""
        at = f"https://{LOOPBACK}:{self.ports.etcd}"
        peer = f"https://{LOOPBACK}:{self.ports.peer}"
        return self._part(
            "etcd",
            {
                "name": NODE,
                "data-dir": self.folder / "etcd",
                "listen-client-urls": at,
                "advertise-client-urls": at,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"{NODE}={peer}",
                "cert-file": self._key("server.crt"),
                "key-file": self._key("server.key"),
                "client-cert-auth": "true",
                "trusted-ca-file": self._key("ca.crt"),
                "peer-cert-file": self._key("server.crt"),
                "peer-key-file": self._key("server.key"),
                "peer-client-cert-auth": "true",
                "peer-trusted-ca-file": self._key("ca.crt"),
                "unsafe-no-fsync": "true",
                "log-level": "warn",
            },
        )

    def api(self) -> Part:
        """Return the API server; who has a certificate of its authority may do everything."""
        return self._part(
            "kube-apiserver",
            {
                "bind-address": LOOPBACK,
                "advertise-address": NODE_ADDRESS,
                "secure-port": self.ports.api,
                "tls-cert-file": self._key("server.crt"),
                "tls-private-key-file": self._key("server.key"),
                "client-ca-file": self._key("ca.crt"),
                "anonymous-auth": "false",
                "authorization-mode": "RBAC",
                "etcd-servers": f"https://{LOOPBACK}:{self.ports.etcd}",
                "etcd-cafile": self._key("ca.crt"),
                "etcd-certfile": self._key("admin.crt"),
                "etcd-keyfile": self._key("admin.key"),
                "kubelet-client-certificate": self._key("admin.crt"),
                "kubelet-client-key": self._key("admin.key"),
                "kubelet-preferred-address-types": "InternalIP",
                "service-cluster-ip-range": SERVICES,
                "service-node-port-range": NODE_PORTS,
                "service-account-issuer": "https://lossmeter.invalid",
                "service-account-signing-key-file": self._key("ca.key"),
                "service-account-key-file": self._key("ca.key"),
                # Pods get no token: nothing in them has business with the API.
                "disable-admission-plugins": "ServiceAccount",
                "endpoint-reconciler-type": "none",
                "profiling": "false",
            },
        )

    def rest(self) -> Sequence[Part]:
        """Return what needs the API server: controllers, scheduler, kubelet and proxy."""
        kubeconfig = own_config()
        return (
            self._part(
                "kube-controller-manager",
                {
                    "kubeconfig": kubeconfig,
                    "controllers": ",".join(f"{name}-controller" for name in CONTROLLERS),
                    "secure-port": 0,
                    "leader-elect": "false",
                },
            ),
            self._part(
                "kube-scheduler",
                {"kubeconfig": kubeconfig, "secure-port": 0, "leader-elect": "false"},
            ),
            self._part(
                "kubelet",
                {
                    "kubeconfig": kubeconfig,
                    "config": self.folder / "kubelet.json",
                    "root-dir": self.folder / "kubelet",
                    "cert-dir": self.folder / "kubelet" / "pki",
                    "hostname-override": NODE,
                    "node-ip": NODE_ADDRESS,
                    "node-labels": f"{HERE_LABEL}={this_boot()}",
                },
            ),
            self._part("kube-proxy", {"config": self.folder / "kube-proxy.json"}),
        )

    def _part(self, name: str, flags: Mapping[str, object]) -> Part:
        told = (f"--{flag}={value}" for flag, value in flags.items())
        return Part(name, (str(self.programs / "kubernetes"), name, *told))

    def _key(self, name: str) -> Path:
        return self.certificates / name

    def _text(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def _json(self, name: str, value: Mapping[str, Any]) -> None:
        self._text(name, json.dumps(value, indent=1))

    def _containerd(self) -> str:
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return "\n".join(
            (
                "version = 2",
                f'root = "{self.folder / "containerd"}"',
                f'state = "{RUN / "containerd"}"',
                "[grpc]",
                f'  address = "{SOCKET}"',
                '[plugins."io.containerd.internal.v1.opt"]',
                f'  path = "{self.folder / "containerd" / "opt"}"',
                f"[{cri}]",
                f'  sandbox_image = "docker.io/{pause_image.NAME}"',
                f"  restrict_oom_score_adj = {str(not _may_lower_oom_score()).lower()}",
                "  netns_mounts_under_state_dir = true",
                f"[{cri}.cni]",
                f'  bin_dir = "{self.plugins}"',
                f'  conf_dir = "{self.folder / "cni"}"',
                f"[{cri}.containerd.runtimes.runc]",
                '  runtime_type = "io.containerd.runc.v2"',
                "",
            )
        )

    def _network(self) -> dict[str, Any]:
        # Point to point, so that every packet passes the rules that make services work,
        # whether or not the kernel filters bridges.
        ranges = [[{"subnet": PODS}]]
        return {
            "cniVersion": "0.4.0",
            "name": NODE,
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": ranges,
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(self.folder / "addresses"),
                    },
                }
            ],
        }

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "port": self.ports.kubelet,
            "readOnlyPort": 0,
            "healthzPort": self.ports.health,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(self._key("ca.crt"))},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "tlsCertFile": str(self._key("server.crt")),
            "tlsPrivateKeyFile": str(self._key("server.key")),
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{CONTROL_GROUP}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "makeIPTablesUtilChains": False,
            "podLogsDir": str(self.folder / "pods"),
            "volumePluginDir": str(self.folder / "kubelet" / "volume-plugins"),
            "resolvConf": "",
            "serializeImagePulls": False,
            # The images come from this machine, so none may be thrown away.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
            "maxPods": 60,
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(own_config())},
            "hostnameOverride": NODE,
            "bindAddress": LOOPBACK,
            "healthzBindAddress": "",
            "metricsBindAddress": f"{LOOPBACK}:{self.ports.proxy}",
            "mode": "iptables",
            "clusterCIDR": PODS,
            "detectLocalMode": "ClusterCIDR",
            # What a run publishes, it publishes on the loopback only.
            "nodePortAddresses": [f"{LOOPBACK}/32"],
            "iptables": {"localhostNodePorts": True, "minSyncPeriod": "100ms"},
            # The kernel's own settings stay as they are.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpCloseWaitTimeout": "0s",
                "tcpEstablishedTimeout": "0s",
            },
        }

    def _kubeconfig(self) -> dict[str, Any]:
        def held(name: str) -> str:
            return base64.b64encode(self._key(name).read_bytes()).decode()

        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": OWN_CONTEXT,
            "clusters": [
                {
                    "name": OWN_CONTEXT,
                    "cluster": {
                        "server": f"https://{LOOPBACK}:{self.ports.api}",
                        "certificate-authority-data": held("ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": OWN_CONTEXT,
                    "user": {
                        "client-certificate-data": held("admin.crt"),
                        "client-key-data": held("admin.key"),
                    },
                }
            ],
            "contexts": [
                {"name": OWN_CONTEXT, "context": {"cluster": OWN_CONTEXT, "user": OWN_CONTEXT}}
            ],
        }


def _may_lower_oom_score() -> bool:
    """Return whether containers may be made dearer to the kernel than this process is."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    capabilities = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    cap_sys_resource = 24
    return os.geteuid() == 0 and bool(capabilities >> cap_sys_resource & 1)

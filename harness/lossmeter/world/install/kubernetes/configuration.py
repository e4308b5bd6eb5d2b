"""What each part of the cluster is given: one small cluster, on the loopback, in two folders."""

from __future__ import annotations

import base64
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import StrictUndefined, Template

from lossmeter.world.install.kubernetes import pause_image
from lossmeter.world.ownership import this_boot
from lossmeter.world.ports import LOOPBACK
from lossmeter.world.runtimes._kube_access import HERE_LABEL, OWN_CONTEXT, RUN, SOCKET, own_config

NODE = "lossmeter"
LINK = "lossmeter0"
# Private, and none of those that Docker or other clusters take by default.
NETWORK = "10.213.0.0/16"
NODE_ADDRESS = "10.213.255.1"
PODS = "10.213.0.0/20"
SERVICES = "10.213.128.0/20"
# Above what lossmeter.world.ports gives out, and below what Linux gives to outgoing connections.
NODE_PORTS = "32000-32767"
CONTROL_GROUP = "lossmeter-kubernetes"
CONTROLLERS = (
    *("deployment", "replicaset", "statefulset", "job", "endpointslice", "namespace"),
    *("garbage-collector", "resourcequota", "disruption", "pod-garbage-collector"),
    *("node-lifecycle", "persistentvolume-binder"),
    *("persistentvolume-protection", "persistentvolumeclaim-protection"),
)


_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class ClusterPart:
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
    """Where everything of the cluster lies, and what its parts read: see ``templates``.

    Attributes:
        plugins: Debian's network plugins.
        programs: what was built.
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
        kubeconfig = own_config()
        kubeconfig.touch(mode=0o600)
        for name, to in (
            ("containerd.toml", self.folder),
            ("10-lossmeter.conflist", self.folder / "cni"),
            ("kubelet.yaml", self.folder),
            ("kube-proxy.yaml", self.folder),
        ):
            (to / name).write_text(self._filled(name), encoding="utf-8")
        kubeconfig.write_text(self._filled("kubeconfig.yaml"), encoding="utf-8")

    def engine(self) -> ClusterPart:
        """Return containerd, a second one beside any that runs already."""
        return ClusterPart(
            "containerd", ("containerd", "--config", str(self.folder / "containerd.toml"))
        )

    def part(self, name: str) -> ClusterPart:
        """Return another part, by its name in ``flags.toml``."""
        flags = tomllib.loads(self._filled("flags.toml"))[name]
        reported = (f"--{flag}={value}" for flag, value in flags.items())
        return ClusterPart(name, (str(self.programs / "kubernetes"), name, *reported))

    def _filled(self, name: str) -> str:
        def held(key: str) -> str:
            return base64.b64encode((self.certificates / key).read_bytes()).decode()

        # Paths pass through ``tojson``, whose strings TOML and YAML read as they are.
        text = _TEMPLATES.joinpath(f"{name}.j2").read_text(encoding="utf-8")
        template = Template(text, undefined=StrictUndefined)
        filled: str = template.render(
            folder=str(self.folder),
            plugins=str(self.plugins),
            ports=self.ports,
            key=lambda key: str(self.certificates / key),
            held=held,
            store=f"https://{LOOPBACK}:{self.ports.etcd}",
            peer=f"https://{LOOPBACK}:{self.ports.peer}",
            loopback=LOOPBACK,
            node=NODE,
            node_address=NODE_ADDRESS,
            pods=PODS,
            services=SERVICES,
            node_ports=NODE_PORTS,
            control_group=CONTROL_GROUP,
            controllers=CONTROLLERS,
            context=OWN_CONTEXT,
            kubeconfig=str(own_config()),
            here_label=HERE_LABEL,
            this_boot=this_boot(),
            run=str(RUN),
            socket=str(SOCKET),
            pause_image=pause_image.NAME,
            may_lower_oom_score=_may_lower_oom_score(),
        )
        return filled


def _may_lower_oom_score() -> bool:
    """Return whether containers may be made dearer to the kernel than this process is."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    capabilities = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    cap_sys_resource = 24
    return os.geteuid() == 0 and bool(capabilities >> cap_sys_resource & 1)

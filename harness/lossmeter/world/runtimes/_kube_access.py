"""Which cluster is used: named explicitly, and only one that is marked as fit for tests."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from lossmeter.errors import HarnessError, ServiceError, UnavailableError
from lossmeter.plugins import lacking
from lossmeter.world.install.cache import cache_root
from lossmeter.world.ownership import Owner, this_boot
from lossmeter.world.ports import LOOPBACK
from lossmeter.world.runtimes._state import state_folder

if TYPE_CHECKING:
    from kubernetes import client

NAME = "kubernetes"
CONFIG_VARIABLE = "LOSSMETER_KUBECONFIG"
CONTEXT_VARIABLE = "LOSSMETER_KUBE_CONTEXT"
ALLOW_VARIABLE = "LOSSMETER_ALLOW_CONTEXT"
NODE_VARIABLE = "LOSSMETER_KUBE_NODE"
OWN_CONTEXT = "lossmeter-test"
# What the node of that cluster says of itself: its files are those of this machine.
HERE_LABEL = "lossmeter/here"
RUN = Path("/run/lossmeter-kubernetes")
SOCKET = RUN / "containerd.sock"
TASKS = RUN / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io"
INSTALL = (
    "`python -m lossmeter.world.install.kubernetes` builds and starts one where you are root on "
    "Debian or Ubuntu"
)
ANSWER_S = 3.0
COMMAND_S = 30.0


def own_folder() -> Path:
    """Return the folder of the cluster that ``make kubernetes`` starts."""
    return cache_root() / "kubernetes-cluster"


def own_config() -> Path:
    """Return the kubeconfig of that cluster."""
    return own_folder() / "kubeconfig"


def config_file() -> Path:
    """Return the kubeconfig in use; that of any other tool is never taken by itself."""
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named).expanduser() if named else own_config()


def context() -> str:
    """Return the name of the context in use."""
    return os.environ.get(CONTEXT_VARIABLE) or OWN_CONTEXT


def unavailable() -> str | None:
    """Return one sentence saying why no cluster can be used, or None; within some seconds."""
    return _not_allowed() or lacking(("kubernetes", "docker")) or _no_answer()


def _not_allowed() -> str | None:
    name, file = context(), config_file()
    if not file.is_file():
        if CONFIG_VARIABLE in os.environ:
            return f"{CONFIG_VARIABLE} names {file}, and there is no such file"
        return (
            f"no Kubernetes cluster is known; {INSTALL}, or name one of yours that is fit for "
            f"tests in {CONFIG_VARIABLE}, {CONTEXT_VARIABLE} and --allow-context"
        )
    allowed = {OWN_CONTEXT} | set(filter(None, os.environ.get(ALLOW_VARIABLE, "").split(",")))
    if name not in allowed:
        return (
            f"context {name!r} of {file} is not marked as fit for tests; the harness kills "
            f"pods there, so say it is: --allow-context {name}"
        )
    return None


def _no_answer() -> str | None:
    from kubernetes.client import VersionApi  # noqa: PLC0415 - heavy, and the CLI starts fast

    try:
        VersionApi(connect()).get_code(_request_timeout=ANSWER_S)
    except HarnessError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever the library raises, it does not answer
        said = getattr(error, "reason", None) or type(error).__name__
        return (
            f"the Kubernetes API of context {context()!r} in {config_file()} does not answer "
            f"({said}); start the cluster again: {INSTALL}"
        )
    return None


def connect(file: Path | None = None, name: str = "") -> client.ApiClient:
    """Return a client of the cluster.

    Args:
        file: another kubeconfig than the one in use.
        name: another context.

    Raises:
        UnavailableError: the kubeconfig cannot be used.
    """
    from kubernetes import client, config  # noqa: PLC0415 - heavy, and the CLI must start fast

    file, name = file or config_file(), name or context()
    settings: Any = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            str(file),
            context=name,
            client_configuration=settings,
            persist_config=False,
            # The library writes keys into files, and removes them unless it is killed.
            temp_file_path=str(_keys()),
        )
    except (config.ConfigException, OSError) as error:
        raise UnavailableError(f"context {name!r} of {file} cannot be used: {error}") from None
    if _is_here(settings.host) and settings.proxy in getproxies().values():
        # As kubectl: what is on this machine is asked through no proxy of the environment.
        settings.proxy = None
    return client.ApiClient(configuration=settings)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _keys() -> Path:
    """Return this process's folder for keys; ``recover`` finds it by its name."""
    folder = state_folder(Owner.this_process("keys"), NAME)
    folder.chmod(0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def core(file: Path | None = None, name: str = "") -> Any:
    """Return the core API; untyped, since manifests are plain data. Raises as ``connect``."""
    from kubernetes.client import CoreV1Api  # noqa: PLC0415 - heavy

    return CoreV1Api(connect(file, name))


def apps() -> Any:
    """Return the API of workloads; likewise."""
    from kubernetes.client import AppsV1Api  # noqa: PLC0415 - heavy

    return AppsV1Api(connect())


def here() -> bool:
    """Return whether the only node of the cluster in use is this machine.

    Then faults reach the processes of pods, and marks their files. The cluster that
    ``make kubernetes`` starts says so of its node.
    """
    return _here((str(config_file()), context()))


@cache
def _here(where: tuple[str, str]) -> bool:
    del where
    labels = [(node.metadata.labels or {}).get(HERE_LABEL) for node in _nodes()]
    return labels == [this_boot()] and os.geteuid() == 0


def node_address() -> str:
    """Return the address of a node, as this machine reaches it.

    Raises:
        UnavailableError: no node tells one.
    """
    if named := os.environ.get(NODE_VARIABLE):
        return named
    if here():
        return LOOPBACK
    for kind in ("ExternalIP", "InternalIP"):
        for node in _nodes():
            for address in node.status.addresses or []:
                if address.type == kind:
                    return str(address.address)
    raise UnavailableError(
        f"no node of context {context()!r} tells its address; name one that this machine "
        f"reaches in {NODE_VARIABLE}"
    )


def this_address() -> str:
    """Return the address of this machine by which pods reach it.

    Raises:
        UnavailableError: it cannot be known.
    """
    inside = (
        str(address.address)
        for node in _nodes()
        for address in node.status.addresses or []
        if address.type == "InternalIP"
    )
    try:
        # Nothing is sent: the system only says from which address it would be.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((next(inside), 9))
            return str(way.getsockname()[0])
    except (OSError, StopIteration):
        raise UnavailableError(
            f"no way leads from this machine to a node of context {context()!r}"
        ) from None


def _nodes() -> list[Any]:
    return list(core().list_node(_request_timeout=COMMAND_S).items)


@cache
def version_of(where: tuple[str, str]) -> str:
    """Return e.g. ``Kubernetes v1.34.4``."""
    from kubernetes.client import VersionApi  # noqa: PLC0415 - heavy

    del where
    said: Any = VersionApi(connect()).get_code(_request_timeout=COMMAND_S)
    return f"Kubernetes {said.git_version}"


def explain(error: Exception, what: str) -> HarnessError:
    """Turn what the library raised into the harness's own error, one sentence.

    Args:
        error: what it raised.
        what: what was tried, e.g. ``deployment target``.
    """
    import json  # noqa: PLC0415 - only here

    said = str(getattr(error, "reason", None) or error)
    body = getattr(error, "body", None)
    if body:
        try:
            said = str(json.loads(body).get("message") or said)
        except ValueError:
            said = str(body)
    return ServiceError(f"{what}: the Kubernetes API said: {said.strip().rstrip('.')}")

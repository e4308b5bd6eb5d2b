"""Keys of the Kubernetes client lie where ``recover`` finds them, and nowhere else."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from lossmeter.world.runtimes import _kube_access
from lossmeter.world.runtimes._state import remove_dead

CONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:1"}}}}]
contexts: [{{name: lossmeter-test, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{client-certificate-data: {key}, client-key-data: {key}}}}}]
"""
ANONYMOUS = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://{server}"}}}}]
contexts: [{{name: lossmeter-test, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
"""
CONNECT = """
import os, signal, sys
from pathlib import Path
from lossmeter.world.runtimes import _kube_access
try:
    _kube_access.connect(Path(sys.argv[1]), "lossmeter-test")
except Exception as error:
    # No certificate at all is none that the library takes; it has written it by then.
    print(type(error).__name__)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("server", "proxy"), [("127.0.0.1:1", None), ("10.9.8.7:1", "http://127.0.0.1:9")]
)
def test_a_cluster_of_this_machine_is_asked_through_no_proxy(
    server: str, proxy: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    # Other tools' own settings name a cluster that is not fit for tests.
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    config = tmp_path / "kubeconfig"
    config.write_text(ANONYMOUS.format(server=server))
    with _kube_access.connect(config, "lossmeter-test") as found:
        assert found.configuration.host == f"https://{server}"
        assert found.configuration.proxy == proxy


def test_a_killed_harness_leaves_no_keys_where_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, elsewhere = tmp_path / "cache", tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setenv("LOSSMETER_CACHE", str(cache))
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    config = tmp_path / "kubeconfig"
    config.write_text(CONFIG.format(key=base64.b64encode(b"a secret").decode()))
    subprocess.run([sys.executable, "-c", CONNECT, str(config)], check=False, timeout=60)
    assert list(elsewhere.iterdir()) == []
    left = [file for file in cache.rglob("*") if file.is_file()]
    assert left, "the test needs keys that were written"
    assert all(b"a secret" in file.read_bytes() for file in left)
    assert {file.parent.stat().st_mode & 0o077 for file in left} == {0}
    remove_dead("kubernetes")
    assert [file for file in cache.rglob("*") if file.is_file()] == []

"""Which tests go to one worker, since they share what is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.turns import group_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/unit/test_a.py::test_b", "test_a"),
        ("tests/unit/test_a.py::test_b[local variables-1]", "test_a"),
        (
            "tests/contract/test_runtimes.py::test_b[kubernetes-sigkill-5]",
            "test_runtimes-kubernetes",
        ),
        ("tests/integration/test_faults_live.py::test_b[rollout-local]", "test_faults_live-local"),
        ("tests/integration/test_kubernetes_cluster.py::test_b", "test_kubernetes"),
        ("tests/contract/test_stores.py::test_b[redis list-containers]", "containers"),
        ("tests/contract/test_ingresses.py::test_b[containers-all]", "containers"),
        ("tests/contract/test_ingresses.py::test_b[processes-all]", "test_ingresses"),
    ],
)
def test_a_group_is_a_file_on_a_runtime(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group


TESTS = """
import os
import pytest

@pytest.mark.parametrize("n", range(20))
def test(n):
    with open("workers", "a") as file:
        print(__name__, os.getpid(), file=file)
"""


def test_those_of_a_group_run_in_one_worker(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.support.turns import pytest_xdist_make_scheduler\n"
    )
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(TESTS)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadscope", str(tmp_path)],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        | {"PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    ran = (tmp_path / "workers").read_text().splitlines()
    assert len(ran) == 40
    assert len(set(ran)) == 2
